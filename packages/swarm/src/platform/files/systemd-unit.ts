/** A unit file for systemd. Where it takes a decision, a comment in it says why: it is read by who must change it. */
import { realpathSync } from 'node:fs';
import { type Deployment, graceSeconds, memoryCeilingBytes, stopSeconds, swarmWords } from '../deployment.js';

/** A boot is waited for so much longer; then swarm itself has asked for more, or something is wrong. */
const START_MARGIN_MS = 30_000;
/** `RestartSteps=` came with it. */
const FIRST_WITH_STEPS = 254;

export function systemdUnit(deployment: Deployment): string {
  const { name, directory, config, user, isNewUser } = deployment;
  const command = [...deployment.command, ...swarmWords(deployment)].map(quote).join(' ');
  const startSeconds = Math.ceil((config.bootTimeoutMs + START_MARGIN_MS) / 1_000);
  return `# swarm init systemd, bullmq-swarm ${deployment.version}. As /etc/systemd/system/${name}.service, then:
#   systemctl daemon-reload && systemctl enable --now ${name}
# "systemctl reload ${name}" replaces the children one by one, "systemctl status ${name}" shows how they are.

[Unit]
Description=BullMQ workers of ${name} (swarm)
Documentation=https://www.npmjs.com/package/bullmq-swarm
Wants=network-online.target
After=network-online.target redis-server.service redis.service valkey-server.service
# a Redis that is away for hours must not end in a unit that stays down
StartLimitIntervalSec=0

[Service]
# started when each group has a child that is ready
Type=notify
# notices come from systemd-notify, a process beside the master
NotifyAccess=all
${isNewUser ? `# useradd --system --no-create-home ${user}\n` : ''}User=${user}
WorkingDirectory=${escapePercent(directory)}
Environment=NODE_ENV=production
# REDIS_URL=redis://… and what else is secret; owned by root, mode 0600
EnvironmentFile=${deployment.hidesRedis ? '' : '-'}/etc/default/${name}
${embedded(deployment)}ExecStart=${command}
ExecReload=/bin/kill -HUP $MAINPID

Restart=always
RestartSec=1
${growingPauses(deployment)}# bad usage or configuration: no restart mends that
RestartPreventExitStatus=64
# stopped as asked, but a child had to be killed, or jobs could not be put back
SuccessExitStatus=1

# swarm asks for more while children boot
TimeoutStartSec=${startSeconds}
# a stop takes ${stopSeconds(config)} s at most, by --timeout; swarm asks for more if it is raised and this is not
TimeoutStopSec=${graceSeconds(config)}
# fed while the master's loop turns and a child works, or is on its way to it
WatchdogSec=60
# TERM goes to the master alone, which stops its children; what is left in the end is killed
KillMode=mixed
# the default would stop the whole unit with the first child that the kernel kills
OOMPolicy=continue
Delegate=yes
${memory(deployment)}LimitNOFILE=65536

NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
# what else jobs write to: add it here
ReadWritePaths=${listItem(`-${directory}`)}
${protectHome(deployment)}PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
UMask=0027

[Install]
WantedBy=multi-user.target
`;
}

/** From 1 s to a minute. A systemd that does not know the keys would complain of them at each reload. */
function growingPauses({ systemdVersion }: Deployment): string {
  const keys = ['RestartSteps=8', 'RestartMaxDelaySec=60'];
  const isKnown = systemdVersion === null || systemdVersion >= FIRST_WITH_STEPS;
  const why = isKnown
    ? ''
    : `# from systemd ${FIRST_WITH_STEPS} on, for pauses that grow to a minute; this one is ${systemdVersion}\n`;
  return why + keys.map((key) => `${isKnown ? '' : '#'}${key}\n`).join('');
}

function memory({ config }: Deployment): string {
  const bytes = memoryCeilingBytes(config);
  if (bytes === null)
    return '# with --max-memory, MemoryMax= belongs here: count × its hard limit, and 200 MB for the master\n';
  return `# count × --max-memory-hard, and 200 MB for the master: children meet their own limit first\nMemoryMax=${bytes}\n`;
}

/** An embedded Redis needs a place for its data. */
function embedded({ config, name }: Deployment): string {
  if (config.redis !== 'embedded') return '';
  return `# the embedded Redis keeps its data there\nStateDirectory=${name}\nEnvironment=XDG_STATE_HOME=/var/lib/${name}\n`;
}

function protectHome({ directory, command, config }: Deployment): string {
  const needed = [directory, ...command, ...(config.app ? [config.app] : [])];
  // a link to a home is no way into it then
  const isAtHome = [...needed, ...needed.map(realPath)].some((path) => {
    return /^\/(home|root|run\/user)\//.test(`${path}/`);
  });
  return isAtHome
    ? '# ProtectHome=yes would hide the app: it lives in a home directory\n'
    : 'ProtectHome=yes\n';
}

/** A word of a command line as systemd.service(5) reads it. */
function quote(word: string): string {
  const escaped = escapePercent(word).replaceAll('$', '$$$$');
  if (/^[\w@%+=:,./$-]+$/.test(escaped)) return escaped;
  return `"${escaped.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** Of a list of paths, which blanks part, and in which no variable is expanded. */
function listItem(path: string): string {
  const escaped = escapePercent(path);
  return /[\s'"\\]/.test(escaped) ? `"${escaped.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"` : escaped;
}

function escapePercent(text: string): string {
  return text.replaceAll('%', '%%');
}
