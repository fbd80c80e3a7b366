require 'securerandom'

# A course survey: some come with the site, the others are saved by its visitors.
Survey = Struct.new(:id, :title) do
  class << self
    BUILT_IN = ['CS 61A', 'CS 61B', 'CS 70', 'EE 16A', 'EE 20', 'EE 40'].freeze

    def all
      built_in = BUILT_IN.map { |course| new("Survey #{course}", "#{course} course survey") }
      built_in + saved
    end

    def saved
      return [] unless store.exist?

      store.readlines(chomp: true).map { |line| new(*line.split("\t", 2)) }
    end

    def save(title)
      survey = new("Save #{SecureRandom.hex(6)}", title.tr("\t\n", ' '))
      store.open('a') do |file|
        file.flock(File::LOCK_EX)
        file.puts "#{survey.id}\t#{survey.title}"
      end
      survey
    end

    def search(words)
      SearchIndex.new.search(words).map { |id, title| new(id, title) }
    end

    def like(words)
      all.select { |survey| survey.title.downcase.include?(words.downcase) }
    end

    def store
      Rails.root.join('private/saves.txt')
    end
  end

  def index
    SearchIndex.new.add([self])
  end
end
