require_relative 'boot'

require 'logger'
require 'yaml'
require 'rails'
require 'action_controller/railtie'

module HknRails
  class Application < Rails::Application
    config.load_defaults 6.1
    config.eager_load = true
    config.secret_key_base = YAML.load_file(root.join('config/secrets.yml')).dig('production', 'secret_key_base')
    config.logger = ActiveSupport::Logger.new(root.join('log/production.log')).tap do |logger|
      logger.formatter = ::Logger::Formatter.new
    end
    # The web server in front passes every path on, assets and uploaded files too.
    config.public_file_server.enabled = true
    config.action_controller.default_protect_from_forgery = false
  end
end
