# Runs Ruby's own commands under the stage's rvm_ruby_version, and looks early whether it is there.
namespace :rvm do
  task :hook do
    rvm = "#{fetch(:rvm_path)}/bin/rvm #{fetch(:rvm_ruby_version)} do"
    %i[ruby gem bundle].each { |command| SSHKit.config.command_map.prefix[command].unshift(rvm) }
    SSHKit.config.command_map.prefix[:rake].unshift("#{rvm} bundle exec")
  end

  task :check do
    on(roles(:app)) { execute :ruby, '--version' }
  end
end

Dir.glob('config/deploy/*.rb') { |stage| after File.basename(stage, '.rb'), 'rvm:hook' }
before 'deploy:starting', 'rvm:check'
