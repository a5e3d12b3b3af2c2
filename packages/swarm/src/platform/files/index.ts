/** Every platform that swarm can write a file for. */
import type { Deployment } from '../deployment.js';
import { dockerfile } from './dockerfile.js';
import { kubernetesManifest } from './kubernetes-manifest.js';
import { procfile } from './procfile.js';
import { systemdUnit } from './systemd-unit.js';
import { upstartJob } from './upstart-job.js';

interface PlatformFile {
  text(deployment: Deployment): string;
  /** Where it belongs; relative to the app's directory if it is the app's. */
  path(name: string): string;
  /** What is to be done next. */
  next(name: string): string;
}

export const PLATFORM_FILES: Readonly<Record<string, PlatformFile>> = {
  systemd: {
    text: systemdUnit,
    path: (name) => `/etc/systemd/system/${name}.service`,
    next: (name) =>
      `put REDIS_URL into /etc/default/${name}; systemctl daemon-reload; systemctl enable --now ${name}`,
  },
  upstart: {
    text: upstartJob,
    path: (name) => `/etc/init/${name}.conf`,
    next: (name) => `put REDIS_URL into /etc/default/${name}; start ${name}`,
  },
  heroku: {
    text: procfile,
    path: () => 'Procfile',
    next: () => 'git add Procfile; git push heroku; heroku ps:scale worker=1',
  },
  docker: {
    text: dockerfile,
    path: () => 'Dockerfile',
    next: (name) => `docker build -t ${name} .`,
  },
  kubernetes: {
    text: kubernetesManifest,
    path: () => 'kubernetes.yaml',
    next: () => 'put your image in; kubectl apply -f kubernetes.yaml',
  },
};
