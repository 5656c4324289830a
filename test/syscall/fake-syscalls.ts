import type { Syscalls } from "../../src/syscall/syscalls.ts";

/** A `Syscalls` whose every call is an error in the test, except the given ones. */
export function fakeSyscalls(given: Partial<Syscalls>): Syscalls {
  return new Proxy(given, {
    get(target, name) {
      if (name in target || name === "fdTracker") return Reflect.get(target, name);
      return () => {
        throw new Error(`unexpected system call: ${String(name)}`);
      };
    },
  }) as Syscalls;
}
