/**
 * How `defineApp` and `track` reach the child's runtime. They may come from another copy of this
 * package than the one that supervises (an app has its own, `swarm` may be installed globally), so they
 * meet at symbols of the global registry, not in a module.
 */
import type { AppOptions } from '../app.js';

/** Grows with what the two sides say to each other; a copy of another version is refused, not misread. */
const VERSION = 1;
const RUNTIME = Symbol.for(`bullmq-swarm.runtime.v${VERSION}`);
const APP = Symbol.for(`bullmq-swarm.app.v${VERSION}`);

export interface AppDefinition {
  [APP]: true;
  options: AppOptions;
}

export interface Runtime {
  track(worker: unknown): void;
}

interface Meeting {
  [RUNTIME]?: Runtime & { define?: (app: AppDefinition) => void };
}

const meeting = globalThis as Meeting;

export function provideRuntime(runtime: Runtime): void {
  meeting[RUNTIME] = { ...runtime };
}

/** Called once, when the module that defined the app has had its turn. */
export function onAppDefined(run: (app: AppDefinition) => void): void {
  const runtime = meeting[RUNTIME];
  if (!runtime) return;
  let defined: AppDefinition | null = null;
  runtime.define = (app) => {
    if (defined) throw new Error('defineApp() was called twice: one child runs one app');
    defined = app;
    setImmediate(() => run(app));
  };
}

export function registerApp(options: AppOptions): AppDefinition {
  const app: AppDefinition = { [APP]: true, options };
  meeting[RUNTIME]?.define?.(app);
  return app;
}

/** Without a master above, tracking a Worker does nothing. */
export function trackWorker(worker: unknown): void {
  meeting[RUNTIME]?.track(worker);
}
