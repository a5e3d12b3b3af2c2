/**
 * Why a Redis cannot be used, in words that say what to do. Pure: an error of ioredis, Node or Redis in,
 * a `SwarmError` (exit 69) out.
 */
import { redisError, type SwarmError } from '../errors.js';

export interface Failure {
  error: SwarmError;
  /** Waiting does not help: a wrong password stays wrong. */
  final: boolean;
}

const CERTIFICATE =
  /SELF_SIGNED_CERT|UNABLE_TO_(?:VERIFY|GET)|CERT_(?:HAS_EXPIRED|NOT_YET_VALID|UNTRUSTED|REJECTED|REVOKED)|ALTNAME_INVALID/;
const NO_TLS = /ERR_SSL|EPROTO|wrong version number|packet length too long|before secure TLS connection/i;
const AUTH =
  /^(?:WRONGPASS|NOAUTH|DENIED)\b|invalid password|invalid username-password|AUTH .*without any password/i;
/** What a Redis that is there says instead of doing what it was asked; the first that fits. */
const REFUSALS: readonly [RegExp, string][] = [
  [
    /^OOM\b/,
    'its memory is full: raise its maxmemory, or keep fewer finished jobs (removeOnComplete, removeOnFail)',
  ],
  [
    /^MISCONF\b/,
    'it could not write to its disk and takes nothing until it can: make room there, and see its log for what failed',
  ],
  [
    /^READONLY\b/,
    'it is a replica: name its primary with --redis URL, or wait where a fail-over is under way',
  ],
  [
    /^NOREPLICAS\b/,
    'it has fewer replicas than min-replicas-to-write: bring them back, or lower that number',
  ],
  [
    /^NOPERM\b/,
    'its user may not do that: ACL SETUSER gives the right, or name another user with --redis URL',
  ],
  [
    /^(?:CLUSTERDOWN|MASTERDOWN)\b/,
    'the nodes that have the data are down: see CLUSTER INFO, INFO replication',
  ],
  [/^BUSY\b/, 'a script runs there and does not end: SCRIPT KILL, and see whose it is with SLOWLOG GET'],
];
const NOT_REDIS = /^(?:Protocol error|Unknown RESP type)/i;

/** `url` is shown as it is: pass a redacted one. */
export function explainFailure(cause: unknown, url: string): Failure {
  const error = rootOf(cause);
  const { code, message } = error;
  const fail = (swarmCode: string, text: string, final: boolean): Failure => ({
    error: redisError(swarmCode, text, cause),
    final,
  });
  if (CERTIFICATE.test(code)) {
    return fail(
      'SWARM_REDIS_TLS',
      `the certificate of Redis at ${url} is not trusted (${message}); put its CA into NODE_EXTRA_CA_CERTS, or accept any certificate with --redis-tls-no-verify`,
      true,
    );
  }
  if (url.startsWith('rediss') && (NO_TLS.test(code) || NO_TLS.test(message))) {
    return fail(
      'SWARM_REDIS_TLS',
      `Redis at ${url} does not speak TLS (${message}); write ${url.replace(/^rediss/, 'redis')} if it needs none`,
      true,
    );
  }
  if (AUTH.test(message)) {
    return fail(
      'SWARM_REDIS_AUTH',
      `Redis at ${url} refused the user or password (${message}); write redis://user:password@host, or :password@ for a password alone`,
      true,
    );
  }
  if (/DB index is out of range|SELECT is not allowed/i.test(message)) {
    return fail('SWARM_REDIS_DB', `Redis at ${url} has no such database (${message}); use /0`, true);
  }
  if (NOT_REDIS.test(message)) {
    return fail(
      'SWARM_REDIS_UNREACHABLE',
      `what answers at ${url} is not Redis (${message.replace(' Please report this.', '')}); check host and port`,
      true,
    );
  }
  if (/max number of clients/i.test(message)) {
    return fail(
      'SWARM_REDIS_UNREACHABLE',
      `Redis at ${url} is full (${message}); raise its maxclients, or run fewer children`,
      false,
    );
  }
  if (error.isReply && !/^LOADING\b/.test(message)) {
    const [, cure] = REFUSALS.find(([says]) => says.test(message)) ?? [];
    const text = `Redis at ${url} is there, and says no (${message.replace(/[.\s]+$/, '')}); ${cure ?? 'see what its configuration allows, or name another with --redis URL'}`;
    return fail('SWARM_REDIS_REFUSED', text, /^NOPERM\b/.test(message));
  }
  const closed = /Connection is closed|ECONNRESET|EPIPE|closed before/i.test(`${code} ${message}`);
  const silent = /ETIMEDOUT|timed out|timeout/i.test(`${code} ${message}`);
  const hint =
    closed && /^redis[:+]/.test(url)
      ? ' (if it speaks TLS, write rediss://)'
      : silent && url.startsWith('rediss')
        ? ' (if it speaks no TLS, write redis://)'
        : '';
  return fail(
    'SWARM_REDIS_UNREACHABLE',
    `no Redis at ${url}: ${describe(code, message, url)}${hint}; start one, name another with --redis URL, or use --redis embedded`,
    false,
  );
}

function describe(code: string, message: string, url: string): string {
  if (code === 'ECONNREFUSED') return 'connection refused (ECONNREFUSED)';
  if (code === 'ENOTFOUND') return 'its host name is not known (ENOTFOUND)';
  if (code === 'ETIMEDOUT' || /timed out|timeout/i.test(message)) return `no answer in time (${message})`;
  // A cluster connection keeps from us why.
  if (/\+cluster:/.test(url) && /Connection is closed|closed before/.test(message))
    return 'none of its nodes can be reached';
  return code && !message.includes(code) ? `${message} (${code})` : message;
}

/** A cluster's error wraps the one of its last node; a name with several addresses fails with all of theirs. */
function rootOf(cause: unknown): { code: string; message: string; isReply: boolean } {
  let error = cause;
  for (let depth = 0; depth < 4 && error instanceof Error; depth += 1) {
    if ('lastNodeError' in error && error.lastNodeError instanceof Error) error = error.lastNodeError;
    else if (error instanceof AggregateError && error.errors[0] instanceof Error) error = error.errors[0];
    else break;
  }
  if (!(error instanceof Error)) return { code: '', message: String(error), isReply: false };
  const code = 'code' in error ? String(error.code) : '';
  return { code, message: error.message, isReply: error.name === 'ReplyError' };
}
