/** Is there a Redis, and one that can be written to? */
import { judgeServer } from '../../redis/checks.js';
import { defineCheck, type Verdict } from '../check.js';

export interface ConnectionFacts {
  /** Redacted. */
  url: string;
  /** Why it cannot be used; null: it answers. */
  failure: string | null;
  role: string | null;
  clusterEnabled: boolean;
  asCluster: boolean;
  connectMs: number;
}

export const redisConnection = defineCheck<ConnectionFacts>({
  name: 'redis-connection',
  section: 'Redis',
  async gather(exam) {
    const nothing = { url: '', role: null, clusterEnabled: false, asCluster: false, connectMs: 0 };
    try {
      const { client, target, connectMs } = await exam.connection();
      const [server] = await exam.servers();
      const role = server?.info.get('role') ?? null;
      const clusterEnabled = server?.info.get('cluster_enabled') === '1';
      return {
        url: target.shown,
        failure: null,
        role,
        clusterEnabled,
        asCluster: client.isCluster,
        connectMs,
      };
    } catch (error) {
      return { ...nothing, failure: (error as Error).message };
    }
  },
  judge: judgeConnection,
});

export function judgeConnection(facts: ConnectionFacts): Verdict {
  const { url, failure, role, clusterEnabled, asCluster, connectMs } = facts;
  const why = 'Without Redis no job is taken, and nobody can be seen or told anything';
  if (failure !== null) {
    const [found = failure, ...cure] = failure.split('; ');
    return { status: 'fail', found, why, cure };
  }
  const unknown = {
    version: null,
    valkeyVersion: null,
    maxmemoryPolicy: null,
    aofEnabled: null,
    savePoints: null,
    maxClients: null,
    connectedClients: null,
  };
  const { errors } = judgeServer({ ...unknown, role, clusterEnabled }, { url, clientsNeeded: 0, asCluster });
  const [error] = errors;
  if (!error) return { status: 'ok', found: `${url} answers (connected in ${Math.round(connectMs)} ms)` };
  const [found = '', ...cure] = error.message.split('; ');
  return { status: 'fail', found, why: 'Jobs can be neither taken nor finished there', cure };
}
