<?php
# Managed by Ansible (sparkfleet.ec2.ganglia)
# The same on every master. Who may look is decided before anything gets here; nobody may edit.
$conf['auth_system'] = 'readonly';
$conf['gweb_confdir'] = '/var/lib/ganglia/web';
$conf['dwoo_compiled_dir'] = '/var/lib/ganglia/web/compiled';
$conf['dwoo_cache_dir'] = '/var/lib/ganglia/web/cache';
# The package's, which nothing writes to.
$conf['views_dir'] = '/var/lib/ganglia-web/conf';
$conf['conf_dir'] = '/var/lib/ganglia-web/conf';
$conf['cachefile'] = '/var/lib/ganglia/web/cache/metrics';
$conf['nagios_cache_file'] = '/var/lib/ganglia/web/cache/nagios';
$conf['overlay_events'] = false;
# Names of workers end in an address, of which nothing is to be cut off.
$conf['strip_domainname'] = false;
$conf['default_refresh'] = 30;
# It comes out empty on this PHP, and the graphs of all hosts are below it.
$conf['show_stacked_graphs'] = 0;
