# Solr is optional. Whether it is there is decided once, when the application boots: the process
# that the PID file names is alive, and may be signalled by us.
require Rails.root.join('lib/search_server')

SUNSPOT_ENABLED =
  begin
    Process.kill(0, File.read(SearchServer.pid_file).to_i)
    true
  rescue StandardError
    false
  end
