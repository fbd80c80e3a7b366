class CoursesurveysController < ApplicationController
  def search
    found = SUNSPOT_ENABLED ? Survey.search(params[:q]) : lame_search(params[:q])
    items = found.map { |survey| "<li>#{CGI.escapeHTML(survey.title)}</li>" }
    page "<h1>Course surveys</h1>\n<p>#{found.size} found</p>\n<ul>#{items.join}</ul>"
  end

  private

  def lame_search(words)
    logger.warn 'Solr is not enabled, falling back to lame search'
    Survey.like(words)
  end
end
