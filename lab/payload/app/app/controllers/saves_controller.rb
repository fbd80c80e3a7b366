class SavesController < ApplicationController
  def index
    render plain: Survey.saved.map { |survey| "#{survey.id}\t#{survey.title}\n" }.join
  end

  def create
    survey = Survey.save(params.require(:title))
    survey.index if SUNSPOT_ENABLED
    render plain: "saved #{survey.id}\n", status: :created
  end
end
