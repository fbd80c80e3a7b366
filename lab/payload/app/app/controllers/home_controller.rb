class HomeController < ApplicationController
  LONGEST = 50.0

  def index
    page '<h1>Eta Kappa Nu, Mu Chapter</h1>'
  end

  # A request that takes its time, as the heavy pages of a real site do.
  def slow
    seconds = params[:s].to_f.clamp(0.0, LONGEST)
    sleep seconds
    render plain: "slept #{seconds} s\n"
  end
end
