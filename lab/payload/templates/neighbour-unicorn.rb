listen '@SOCKET@'
worker_processes 1
stderr_path 'unicorn.log'
