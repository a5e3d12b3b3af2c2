/**
 * Which native addons this process loads. When a process crashes in native code, that is a bug of V8, of
 * Node or of one of these, and the record of its death names them. Threads of the app are not seen.
 */

type Dlopen = (this: NodeJS.Process, module: object, file: string, ...rest: unknown[]) => void;

/** Wraps `process.dlopen`, which is public, and what `require` of a `.node` file calls. */
export function reportAddons(onAddon: (file: string) => void): void {
  const target = process as unknown as { dlopen: Dlopen };
  const { dlopen } = target;
  target.dlopen = function (module, file, ...rest) {
    onAddon(String(file));
    return dlopen.call(this, module, file, ...rest);
  };
}
