# Installs the release's gems from its own vendor/cache into bundle_path.
namespace :bundler do
  task :install do
    on(roles(:app)) do
      within(release_path) do
        execute :bundle, :config, '--local', 'path', fetch(:bundle_path)
        execute :bundle, :config, '--local', 'deployment', true
        execute :bundle, :install, '--local', '--quiet'
      end
    end
  end
end

after 'deploy:updated', 'bundler:install'
