server 'apphost', user: 'hkn', roles: %w[app db web]

set :deploy_to, '/home/h/hk/hkn/hkn-rails/prod'
set :branch, 'master'
set :rvm_ruby_version, '@RUBY@'
