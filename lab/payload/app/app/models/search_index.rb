require 'net/http'
require 'json'

# Solr over HTTP. Every failure is an exception: the pages that need Solr fail with it.
class SearchIndex
  class Failed < StandardError; end

  def initialize(config = SearchServer.config)
    @base = URI("http://#{config['hostname']}:#{config['port']}")
    @core_path = config['path']
  end

  def search(words)
    answer = get('select', q: "title_text:(#{words.gsub(/[^[:alnum:] ]/, ' ')})", rows: 100, wt: 'json')
    answer.fetch('response').fetch('docs').map { |doc| [doc['id'], doc['title_text']] }
  end

  def add(surveys)
    docs = surveys.map { |survey| { id: survey.id, title_text: survey.title } }
    post(docs.to_json, 'application/json')
  end

  def clear
    post('<delete><query>*:*</query></delete>', 'text/xml')
  end

  def ready?
    get('select', q: '*:*', rows: 0, wt: 'json')
    true
  rescue Failed
    false
  end

  private

  def get(handler, query)
    JSON.parse(request(Net::HTTP::Get.new("#{@core_path}/#{handler}?#{URI.encode_www_form(query)}")))
  end

  def post(body, type)
    request(Net::HTTP::Post.new("#{@core_path}/update?commit=true", 'Content-Type' => type).tap { |r| r.body = body })
  end

  def request(message)
    answer = Net::HTTP.start(@base.host, @base.port, open_timeout: 2, read_timeout: 10) { |http| http.request(message) }
    raise Failed, "Solr says #{answer.code} to #{message.path}" unless answer.is_a?(Net::HTTPSuccess)

    answer.body
  rescue SystemCallError, Net::OpenTimeout, Net::ReadTimeout, EOFError => e
    raise Failed, "Solr on #{@base} does not answer: #{e.message}"
  end
end
