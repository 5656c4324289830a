import { describe, expect, test } from "vitest";
import { Fd, fdLeakTracer } from "../../src/syscall/fd.ts";
import { NetnsRestoreError, openNetns, withNetns } from "../../src/syscall/netns.ts";
import type { Syscalls } from "../../src/syscall/syscalls.ts";
import { fakeSyscalls } from "./fake-syscalls.ts";

// A thread that is in namespace 1 at first; descriptor n is a door to namespace n.
function thread(options: { readonly barBack?: boolean; readonly barIn?: boolean } = {}) {
  const state = { current: 1 };
  const tracer = fdLeakTracer();
  const sys: Syscalls = fakeSyscalls({
    fdTracker: tracer,
    open: () => state.current,
    close: () => 0,
    setns(fd) {
      if (options.barIn === true || (options.barBack === true && fd === 1)) return -1;
      state.current = fd;
      return 0;
    },
  });
  return {
    sys,
    state,
    tracer,
    target: Fd.own(fakeSyscalls({ close: () => 0 }), 2, 'network namespace "test0"'),
  };
}

describe("withNetns", () => {
  test("runs inside and comes back", () => {
    const { sys, state, tracer, target } = thread();
    expect(withNetns(sys, target, () => state.current)).toBe(2);
    expect(state.current).toBe(1);
    tracer.assertNone();
  });

  test("comes back when the function throws", () => {
    const { sys, state, tracer, target } = thread();
    const boom = new Error("boom");
    expect(() =>
      withNetns(sys, target, () => {
        throw boom;
      }),
    ).toThrow(boom);
    expect(state.current).toBe(1);
    tracer.assertNone();
  });

  test("says so loudly when it cannot come back", () => {
    const { sys, tracer, target } = thread({ barBack: true });
    const boom = new Error("boom");
    let error: unknown;
    try {
      withNetns(sys, target, () => {
        throw boom;
      });
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(NetnsRestoreError);
    expect((error as Error).message).toMatch(
      /^The thread is stuck in network namespace "test0": setns back failed: EPERM \(Operation not permitted\)\n/,
    );
    expect((error as Error).cause).toBe(boom);
    tracer.assertNone();
  });

  test("does not run the function when it cannot enter", () => {
    const { sys, tracer, target } = thread({ barIn: true });
    expect(() => withNetns(sys, target, () => expect.unreachable())).toThrow(
      'setns(CLONE_NEWNET) failed: EPERM (Operation not permitted) [to=network namespace "test0"]',
    );
    tracer.assertNone();
  });

  test("an asynchronous function does not compile, and is an error", () => {
    const { sys, state, target } = thread();
    // @ts-expect-error the function must be synchronous
    expect(() => withNetns(sys, target, async () => 1)).toThrow(
      "withNetns was given an asynchronous function",
    );
    expect(state.current).toBe(1);
  });
});

describe("openNetns", () => {
  test("looks in /run/netns, then in /var/run/netns", () => {
    const asked: string[] = [];
    const sys = fakeSyscalls({
      open(path) {
        asked.push(path);
        return asked.length === 1 ? -2 : 9;
      },
    });
    expect(openNetns(sys, { name: "test0" }).number).toBe(9);
    expect(asked).toEqual(["/run/netns/test0", "/var/run/netns/test0"]);
  });

  test.each([
    [{ pid: 42 }, "/proc/42/ns/net"],
    [{ path: "/x/y" }, "/x/y"],
  ])("%o is %s", (ref, path) => {
    const sys = fakeSyscalls({ open: (asked) => (asked === path ? 9 : -2) });
    expect(openNetns(sys, ref).number).toBe(9);
  });

  test("a name that is not there", () => {
    const sys = fakeSyscalls({ open: () => -2 });
    expect(() => openNetns(sys, { name: "nope" })).toThrow(
      "open failed: ENOENT (No such file or directory) [path=/run/netns/nope]\n  `ip netns list` shows the names there are.",
    );
  });

  test.each(["", "..", ".", "a/b", "a\0"])("%j is not a name", (name) => {
    expect(() => openNetns(fakeSyscalls({}), { name })).toThrow("is not the name of a network namespace");
  });
});
