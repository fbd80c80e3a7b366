"""What runs on the lab's hosts: the application with its past, Solr, Ruby, the web server and the neighbours."""
