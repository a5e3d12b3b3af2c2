/** Is it new enough for the scripts of swarm and of BullMQ? */
import { judgeServer } from '../../redis/checks.js';
import { defineCheck, type Verdict } from '../check.js';

export interface VersionFacts {
  /** Of each server; `valkey` is set where it is one. */
  versions: readonly { version: string | null; valkey: string | null }[];
  url: string;
}

export const redisVersion = defineCheck<VersionFacts>({
  name: 'redis-version',
  section: 'Redis',
  async gather(exam) {
    const { target } = await exam.redis();
    const versions = (await exam.servers()).map(({ info }) => ({
      version: info.get('redis_version') ?? null,
      valkey: info.get('valkey_version') ?? null,
    }));
    return { versions, url: target.shown };
  },
  judge: judgeVersion,
});

export function judgeVersion({ versions, url }: VersionFacts): Verdict {
  for (const { version, valkey } of versions) {
    const facts = {
      version,
      valkeyVersion: valkey,
      maxmemoryPolicy: null,
      aofEnabled: null,
      savePoints: null,
      maxClients: null,
      connectedClients: null,
      role: null,
      clusterEnabled: null,
    };
    const [error] = judgeServer(facts, { url, clientsNeeded: 0, asCluster: false }).errors;
    if (!error) continue;
    const [found = '', cure = ''] = error.message.split(': ');
    const why = 'swarm and BullMQ use commands and options of scripts that older ones do not have';
    return { status: 'fail', found, why, cure: [cure] };
  }
  const names = versions.map(({ version, valkey }) => {
    return valkey ? `Valkey ${valkey}` : `Redis ${version ?? 'of an unknown version'}`;
  });
  return { status: 'ok', found: [...new Set(names)].join(', ') };
}
