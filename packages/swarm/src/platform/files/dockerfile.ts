/** A Dockerfile, for an app that has bullmq-swarm among its dependencies and a lock file. */
import { type Deployment, graceSeconds, swarmWords } from '../deployment.js';
import { METRICS_PORT } from './metrics-port.js';

export function dockerfile(deployment: Deployment): string {
  const { config, nodeMajor } = deployment;
  const port = config.port ?? METRICS_PORT;
  const command = JSON.stringify(['node_modules/.bin/swarm', ...swarmWords(deployment)]).replaceAll(
    '","',
    '", "',
  );
  const startSeconds = Math.ceil(config.bootTimeoutMs / 1_000);
  return `# swarm init docker, bullmq-swarm ${deployment.version}.
#   docker build -t ${deployment.name} . && docker run -e REDIS_URL --stop-timeout ${graceSeconds(config)} ${deployment.name}
# Without --stop-timeout (compose: stop_grace_period: ${graceSeconds(config)}s) "docker stop" kills after 10 s. With a memory
# limit (-m), set --max-memory so that count × 1.5 × it + 200 MB stays below: the kernel's OOM killer then is the last resort.

FROM node:${nodeMajor}-slim
# node as PID 1 does not wait for what jobs leave behind: such processes would stay as zombies
RUN apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/*
WORKDIR /app
ENV NODE_ENV=production
COPY package.json package-lock.json ./
RUN npm ci --omit=dev
COPY . .
USER node
ENV SWARM_PORT=${port} SWARM_HOST=0.0.0.0
EXPOSE ${port}
HEALTHCHECK --interval=10s --timeout=5s --start-period=${startSeconds}s \\
  CMD ["node", "-e", "fetch('http://127.0.0.1:${port}/readyz').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["tini", "--"]
CMD ${command}
`;
}
