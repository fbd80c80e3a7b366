require_relative '../search_server'

namespace :sunspot do
  namespace :solr do
    desc 'Start Solr for this release'
    task :start do
      SearchServer.start
      puts 'Successfully started Solr ...'
    end

    desc 'Stop the Solr that the PID file names'
    task(:stop) { SearchServer.stop }

    desc 'Run Solr in the foreground'
    task(:run) { exec(*SearchServer.command) }
  end

  desc 'Write all course surveys into the index'
  task reindex: :environment do
    index = SearchIndex.new
    deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 30
    until index.ready?
      abort 'Solr did not answer for 30 s' if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
      sleep 0.1
    end
    index.clear
    index.add(Survey.all)
    puts "#{Survey.all.size} indexed"
  end
end
