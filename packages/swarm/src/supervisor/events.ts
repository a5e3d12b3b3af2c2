/** What can happen to a supervisor, and what it can want done. Events are past tense, effects imperative. */
import type { GivenUpJob, MasterMessage } from '../protocol.js';
import type { BlockKind } from '../watchdog-protocol.js';
import type { KillReason, LeaveReason, ReplaceReason } from './state.js';
import type { DumpReason } from './stuck.js';

/** `next`: for a replacement that comes up beside the child it replaces. */
export type Seat = 'main' | 'next';

/** Events that concern one slot. They carry the identity: news of a child that no longer sits there is old. */
export type SlotEvent =
  | { type: 'childSpawned'; slot: number; seat: Seat; identity: string; pid: number; generation: number }
  | { type: 'spawnFailed'; slot: number; seat: Seat; error: string }
  | { type: 'childReady'; slot: number; identity: string; canRelease: boolean }
  /**
   * `drained`: it said that it holds nothing any more. `held`: there was something it could hold. `isHopeless`: it held
   * jobs that no child of this app can put back. `neverWorked`: its program ended by itself before it was ready, without
   * an error and without a Worker. Default false.
   */
  | {
      type: 'childExited';
      slot: number;
      identity: string;
      drained: boolean;
      held: boolean;
      isHopeless?: boolean;
      neverWorked?: boolean;
    };

export type MasterEvent =
  | { type: 'tick' }
  | { type: 'stopRequested' }
  | { type: 'stopForced' }
  /** `slot` null: all of them, and those that follow. */
  | { type: 'quietRequested'; slot: number | null }
  | { type: 'resumeRequested'; slot: number | null }
  | { type: 'rollRequested' }
  /** `identity`: only if that child still sits there. */
  | { type: 'recycleRequested'; slot: number; identity: string; detail: string; overlap: boolean }
  | { type: 'removeRequested'; slot: number }
  | { type: 'scaleRequested'; group: string; count: number }
  | { type: 'killRequested'; identity: string; reason: KillReason }
  /** Its loop does not turn; said again and again while that is so. `blockedMs`: as much of it as counts. */
  | {
      type: 'childBlocked';
      slot: number;
      identity: string;
      kind: BlockKind;
      silentMs: number;
      blockedMs: number;
      /** The longest lock of its Workers. Default 0. */
      lockMs?: number;
    }
  /** It has not turned for so long that its locks are in danger; said again and again while that is so. */
  | { type: 'renewalMissed'; slot: number; identity: string; everyMs: number }
  | { type: 'locksExtended'; owner: string; by: string; error: string | null }
  /** Its loop turns again. */
  | { type: 'childUnblocked'; slot: number; identity: string }
  /** A job is past its time, and nothing else has helped. `isAlone`: its child has no other, and no room for one. */
  | { type: 'jobGivenUp'; slot: number; identity: string; job: GivenUpJob; isAlone: boolean }
  | { type: 'redisLost' }
  | { type: 'redisBack' }
  /** `unserved`: queues of the dead child that the releaser does not work for. */
  | {
      type: 'releaseAnswered';
      releaseId: string;
      by: string;
      error: string | null;
      unserved: readonly string[];
    }
  /** A master that ran here before left a child's jobs behind. */
  | { type: 'predecessorFound'; owner: string };

export type SupervisorEvent = SlotEvent | MasterEvent;

export type Effect =
  | { type: 'spawn'; slot: number; seat: Seat; generation: number }
  | { type: 'send'; identity: string; message: MasterMessage }
  /** SIGKILL to the child's process group. */
  | { type: 'kill'; identity: string; reason: KillReason }
  /** Have its stacks taken. */
  | { type: 'dump'; identity: string; reason: DumpReason }
  /** Ask the child `by` to release what `owner` held. */
  | { type: 'release'; releaseId: string; owner: string; by: string }
  /** Ask the child `by` to extend the locks of the blocked child `owner`. */
  | { type: 'extendLocks'; owner: string; by: string }
  /** One log line about a child's end; `restartInMs` null: nobody follows it. */
  | {
      type: 'announceExit';
      slot: number;
      identity: string;
      killedFor: KillReason | null;
      leavesFor: LeaveReason | null;
      restartInMs: number | null;
    }
  /** Nothing is owed of `owner` any more: every sweep is confirmed; `isPartial`: but for queues that nobody works for. */
  | { type: 'settle'; owner: string; isPartial: boolean }
  /** The master leaves, and what `owner` held is put back by nobody here; `canSucceed`: a successor can do it. */
  | { type: 'announceLeft'; owner: string; canSucceed: boolean }
  /** A replacement took its seat, or could not. */
  | { type: 'announceReplacement'; slot: number; reason: ReplaceReason; detail: string; error: string | null }
  /** Every child is of the newest generation, or the roll was given up. */
  | { type: 'announceRoll'; generation: number; error: string | null }
  | {
      type: 'log';
      level: 'debug' | 'info' | 'warn' | 'error';
      slot: number | null;
      message: string;
      fields: Record<string, string | number>;
    }
  /** Something that the registry shows has changed. */
  | { type: 'report' }
  | { type: 'exit'; reason: ExitReason };

/** `left`: jobs are still where dead children had them. */
export type ExitReason = 'stopped' | 'killed' | 'left' | 'forced' | 'app-failed';
