set :application, 'hkn-rails'
set :repo_url, 'ssh://git@forge/srv/git/hkn-rails.git'
set :keep_releases, 5

set :rvm_path, '~/.rvm'
set :bundle_path, -> { shared_path.join('bundle') }

set :linked_files, %w[config/database.yml config/secrets.yml]
set :linked_dirs, %w[
  log private
  public/examfiles public/files public/images public/pictures
  tmp/pids tmp/cache tmp/sockets
]

# HKN_SSH_CONFIG names another configuration than the user's own ~/.ssh/config.
set :ssh_options, config: ENV['HKN_SSH_CONFIG'] ? [ENV['HKN_SSH_CONFIG']] : true
set :format_options, color: false, log_file: nil, truncate: false

namespace :unicorn do
  desc 'Start the application'
  task :start do
    on(roles(:app)) { execute :systemctl, '--user', 'start', '@UNIT@' }
  end

  desc 'Stop the application'
  task :stop do
    on(roles(:app)) { execute :systemctl, '--user', 'stop', '@UNIT@' }
  end

  desc 'Restart the application'
  task :restart do
    on(roles(:app)) { execute :systemctl, '--user', 'restart', '@UNIT@' }
  end
end

namespace :solr do
  %i[start stop].each do |action|
    desc "#{action.to_s.capitalize} Solr"
    task action do
      on(roles(:app)) do
        within(current_path) { with(rails_env: :production) { execute :rake, "sunspot:solr:#{action}" } }
      end
    end
  end
end

namespace :deploy do
  task(:restart_unicorn) { invoke! 'unicorn:restart' }

  task :restart_solr do
    invoke! 'solr:stop'
    invoke! 'solr:start'
  end

  task :reindex_sunspot do
    on(roles(:app)) do
      within(current_path) { with(rails_env: :production) { execute :rake, 'sunspot:reindex' } }
    end
  end

  after :publishing, :restart_unicorn
  after :publishing, :restart_solr
  after :publishing, :reindex_sunspot
end
