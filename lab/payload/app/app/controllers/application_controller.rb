require 'cgi'

class ApplicationController < ActionController::Base
  before_action :say_who_answers

  private

  # A release is fixed when the process boots; the `current` link may have moved on since.
  RELEASE = Rails.root.realpath

  def say_who_answers
    response.set_header('X-Hkn-Release', RELEASE.basename.to_s)
    response.set_header('X-Hkn-Stage', RELEASE.parent.parent.basename.to_s)
    # The master, which is what the unit's MainPID and unicorn.pid name.
    response.set_header('X-Hkn-Pid', Process.ppid.to_s)
    response.set_header('X-Hkn-Solr', SUNSPOT_ENABLED.to_s)
  end

  def page(body)
    render html: "<!DOCTYPE html>\n<title>HKN</title>\n<link rel=\"stylesheet\" href=\"/assets/app.css\">\n#{body}\n".html_safe
  end
end
