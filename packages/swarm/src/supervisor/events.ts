/** What can happen to a supervisor, and what it can want done. Events are past tense, effects imperative. */
import type { MasterMessage } from '../protocol.js';
import type { KillReason } from './state.js';

/** Events that concern one slot. They carry the identity: news of a child that no longer sits there is old. */
export type SlotEvent =
  | { type: 'childSpawned'; slot: number; identity: string; pid: number }
  | { type: 'spawnFailed'; slot: number; error: string }
  | { type: 'childReady'; slot: number; identity: string; canRelease: boolean }
  /** `drained`: it said that it holds nothing any more. */
  | { type: 'childExited'; slot: number; identity: string; drained: boolean; held: boolean };

export type MasterEvent =
  | { type: 'tick' }
  | { type: 'stopRequested' }
  | { type: 'stopForced' }
  | { type: 'quietRequested' }
  | { type: 'resumeRequested' }
  | { type: 'redisLost' }
  | { type: 'redisBack' }
  | { type: 'releaseAnswered'; releaseId: string; by: string; error: string | null }
  /** A master that ran here before left a child's jobs behind. */
  | { type: 'predecessorFound'; owner: string };

export type SupervisorEvent = SlotEvent | MasterEvent;

export type Effect =
  | { type: 'spawn'; slot: number }
  | { type: 'send'; slot: number; message: MasterMessage }
  /** SIGKILL to the child's process group. */
  | { type: 'kill'; slot: number; reason: KillReason }
  /** Ask the child `by` to release what `owner` held. */
  | { type: 'release'; releaseId: string; owner: string; by: string }
  /** One log line about a child's end; `restartInMs` null: nobody follows it. */
  | {
      type: 'announceExit';
      slot: number;
      identity: string;
      killedFor: KillReason | null;
      restartInMs: number | null;
    }
  /** Every sweep for `owner`'s jobs is confirmed: nothing is owed any more. */
  | { type: 'settle'; owner: string }
  | { type: 'log'; level: 'debug' | 'info' | 'warn' | 'error'; slot: number | null; message: string; fields: Record<string, string | number> }
  /** Something that the registry shows has changed. */
  | { type: 'report' }
  | { type: 'exit'; reason: 'stopped' | 'killed' | 'forced' | 'app-failed' };
