/** A Deployment for Kubernetes, of an image as `swarm init docker` makes it. */
import { type Deployment, graceSeconds, memoryCeilingBytes, swarmWords, totalCount } from '../deployment.js';
import { METRICS_PORT } from './metrics-port.js';

const MIB = 2 ** 20;
/** Where no limit of children says what they need: a small one each, for the scheduler to reckon with. */
const USUAL_CHILD_BYTES = 150 * MIB;
const CHILD_MILLICPUS = 250;

export function kubernetesManifest(deployment: Deployment): string {
  const { name, config, version } = deployment;
  const port = config.port ?? METRICS_PORT;
  const words = ['node_modules/.bin/swarm', ...swarmWords(deployment)];
  const ceiling = memoryCeilingBytes(config);
  const count = totalCount(config);
  const limit = mebibytes(ceiling ?? 200e6 + 2 * count * USUAL_CHILD_BYTES);
  const bootSeconds = Math.ceil(config.bootTimeoutMs / 1_000);
  return `# swarm init kubernetes, bullmq-swarm ${version}. With the image in its place:
#   kubectl create secret generic ${name} --from-literal=REDIS_URL=redis://…
#   kubectl apply -f kubernetes.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: ${name}
  labels: { app: ${name} }
spec:
  replicas: 1
  selector:
    matchLabels: { app: ${name} }
  template:
    metadata:
      labels: { app: ${name} }
      annotations:
        prometheus.io/scrape: 'true'
        prometheus.io/port: '${port}'
    spec:
      # a stop: --timeout, 3 s to leave in, and some
      terminationGracePeriodSeconds: ${graceSeconds(config)}
      securityContext:
        runAsNonRoot: true
        runAsUser: 1000
        seccompProfile: { type: RuntimeDefault }
      containers:
        - name: ${name}
          image: ${name}:latest
          # PID 1 must wait for what jobs leave behind, and node does not; the image has tini for that
          command: [tini, --]
          args:
${words.map((word) => `            - ${JSON.stringify(word)}\n`).join('')}          env:
            - { name: SWARM_PORT, value: '${port}' }
            - { name: SWARM_HOST, value: 0.0.0.0 }
            - name: REDIS_URL
              valueFrom: { secretKeyRef: { name: ${name}, key: REDIS_URL } }
          ports:
            - { name: metrics, containerPort: ${port} }
          startupProbe:
            httpGet: { path: /readyz, port: metrics }
            periodSeconds: 5
            failureThreshold: ${Math.max(3, Math.ceil((3 * bootSeconds) / 5))}
          readinessProbe:
            httpGet: { path: /readyz, port: metrics }
            periodSeconds: 10
          # swarm mends its children itself: only a master that does not answer is for the kubelet to restart
          livenessProbe:
            httpGet: { path: /healthz, port: metrics }
            periodSeconds: 20
            timeoutSeconds: 5
            failureThreshold: 3
          resources:
            requests: { cpu: ${count * CHILD_MILLICPUS}m, memory: ${mebibytes(200e6 + count * USUAL_CHILD_BYTES)} }
${memoryComment(ceiling)}            limits: { memory: ${limit} }
          securityContext:
            allowPrivilegeEscalation: false
            capabilities: { drop: [ALL] }
`;
}

/** cgroup v2 kills a container as a whole, with all of its processes. */
function memoryComment(ceiling: number | null): string {
  const why =
    ceiling === null
      ? [
          'without --max-memory nothing keeps children below it, and where kubelet sets memory.oom.group (cgroup',
          'v2) the kernel kills all of them at once: set --max-memory, and this to count × 1.5 × it + 200 MB',
        ]
      : [
          'count × --max-memory-hard, and 200 MB for the master: where kubelet sets memory.oom.group (cgroup v2)',
          'the kernel kills all processes at once, so each child must meet its own limit first',
        ];
  return why.map((line) => `            # ${line}\n`).join('');
}

function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / MIB)}Mi`;
}
