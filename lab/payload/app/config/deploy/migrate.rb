# The new app host, beside production, until the move is over.
server 'vampires', user: 'hkn', roles: %w[app db web]

set :deploy_to, '/home/h/hk/hkn/hkn-rails/migrate'
set :branch, 'migrate'
set :rvm_ruby_version, '@RUBY@'
