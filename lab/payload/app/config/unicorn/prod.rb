working_directory '/home/h/hk/hkn/hkn-rails/@DIRECTORY@/current'
listen '/srv/apps/hkn/prod.sock'
pid 'tmp/pids/unicorn.pid'
stderr_path 'log/unicorn.stderr.log'
stdout_path 'log/unicorn.stdout.log'

worker_processes 2
timeout 60
preload_app true

before_fork do |server, worker|
  # After USR2 the last worker of the new master ends the old master.
  old_pid = "#{server.config[:pid]}.oldbin"
  if File.exist?(old_pid) && worker.nr + 1 == server.worker_processes
    begin
      Process.kill(:QUIT, File.read(old_pid).to_i)
    rescue Errno::ENOENT, Errno::ESRCH
      # It has gone already.
    end
  end
end
