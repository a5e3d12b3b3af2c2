/** A job file for Upstart. */
import { type Deployment, graceSeconds, swarmWords, totalCount } from '../deployment.js';
import { shellQuote } from './shell-quote.js';

export function upstartJob(deployment: Deployment): string {
  const { name, directory, user, config, command, count } = deployment;
  const hasGroups = config.groups.length > 1 || config.groups[0]?.name !== 'default';
  return `# swarm init upstart, bullmq-swarm ${deployment.version}. As /etc/init/${name}.conf, then: start ${name}
# "reload ${name}" replaces the children one by one.${hasGroups ? '' : ` "start ${name} COUNT=8" starts more of them.`}

description "BullMQ workers of ${name} (swarm)"
start on (local-filesystems and net-device-up IFACE!=lo)
stop on runlevel [!2345]

respawn
# more often than that, it is given up
respawn limit 10 60
# 1: stopped as asked, but a child had to be killed or jobs are left; 64: bad usage or configuration, which no restart mends
normal exit 0 1 64

# TERM, then KILL after so many seconds: --timeout, 3 s to leave in, and some
kill timeout ${graceSeconds(config)}

${deployment.isNewUser ? `# useradd --system --no-create-home ${user}\n` : ''}setuid ${user}
chdir ${shellQuote(directory)}
umask 027
limit nofile 65536 65536
# to /var/log/upstart/${name}.log
console log

env NODE_ENV=production
${hasGroups ? '' : `env COUNT=${count ?? totalCount(config)}\n`}
script
  # REDIS_URL=redis://… and what else is secret; readable for ${user} alone
  if [ -r /etc/default/${name} ]; then set -a; . /etc/default/${name}; set +a; fi
${hasGroups ? '' : `  export COUNT="\${NUM_WORKERS:-$COUNT}"\n`}  exec ${[...command, ...swarmWords(deployment, false)].map(shellQuote).join(' ')}
end script
`;
}
