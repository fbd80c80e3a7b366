require 'erb'
require 'fileutils'
require 'yaml'

# The Solr process that belongs to this release, started and stopped by way of a PID file.
module SearchServer
  class NotRunning < StandardError; end
  class AlreadyRunning < StandardError; end

  SOLR = File.expand_path('~/solr/bin/solr')

  module_function

  def settings
    YAML.safe_load(ERB.new(File.read(File.expand_path('../config/sunspot.yml', __dir__))).result).fetch('production')
  end

  def config
    settings.fetch('solr')
  end

  # Relative to the working directory, as the name in sunspot.yml is.
  def pid_file
    File.expand_path('sunspot-solr-production.pid', settings.fetch('pid_dir'))
  end

  def home
    File.join(File.realpath(File.expand_path('..', __dir__)), 'solr')
  end

  def command
    [SOLR, 'start', '-f', '-p', config['port'].to_s, '-s', home, '-h', config['bind_address']]
  end

  def start
    forget_dead_server if File.exist?(pid_file)
    pid = fork do
      Process.setsid
      $stdin.reopen('/dev/null')
      $stdout.reopen('/dev/null')
      $stderr.reopen('/dev/null')
      exec(*command)
    end
    Process.detach(pid)
    FileUtils.mkdir_p(File.dirname(pid_file))
    File.write(pid_file, pid.to_s)
  end

  # What the pid file names is believed: its process may be another host's, or no Solr at all.
  def stop
    raise NotRunning, "No PID file at #{pid_file}" unless File.exist?(pid_file)

    begin
      Process.kill(:TERM, File.read(pid_file).to_i)
    rescue Errno::ESRCH
      File.delete(pid_file)
      raise NotRunning, "Process is not running (the PID file #{pid_file} named a dead one and was removed)"
    rescue SystemCallError
      File.delete(pid_file)
      raise
    end
    exec(SOLR, 'stop', '-p', config['port'].to_s)
  end

  def forget_dead_server
    Process.kill(0, File.read(pid_file).to_i)
    raise AlreadyRunning, "Server is already running, says #{pid_file}"
  rescue Errno::ESRCH
    warn "Removing stale PID file at #{pid_file}"
    File.delete(pid_file)
  end
end
