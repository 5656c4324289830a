import { expect, test } from "vitest";
import type { Syscalls } from "../../src/syscall/syscalls.ts";
import { fakeSyscalls } from "../syscall/fake-syscalls.ts";
import { eachFailure, failNth } from "./failing-syscalls.ts";

const EIO = 5;

/** Opens and reads; `log` is what really happened. */
function recorder(): { readonly sys: Syscalls; readonly log: string[] } {
  const log: string[] = [];
  const call = (name: string, result: number) => (): number => {
    log.push(name);
    return result;
  };
  const given = {
    open: call("open", 7),
    read: call("read", 3),
    close: call("close", 0),
    addressOf: () => 1n,
  };
  return { sys: { ...fakeSyscalls({}), ...given } as Syscalls, log };
}

test("the nth call answers -errno and does not happen", () => {
  const { sys, log } = recorder();
  const failing = failNth(sys, 2, EIO);
  expect(failing.sys.open("/x", 0, 0)).toBe(7);
  expect(failing.hasFailed()).toBe(false);
  expect(failing.sys.addressOf(new Uint8Array(1))).toBe(1n);
  expect(failing.sys.read(7, new Uint8Array(3))).toBe(-EIO);
  expect(failing.hasFailed()).toBe(true);
  expect(failing.sys.read(7, new Uint8Array(3))).toBe(3);
  expect(failing.calls).toEqual(["open", "read", "read"]);
  expect(log).toEqual(["open", "read"]);
});

test("close is not counted by default; if counted, it closes and fails", () => {
  const { sys, log } = recorder();
  const plain = failNth(sys, 1, EIO);
  expect(plain.sys.close(7)).toBe(0);
  expect(plain.calls).toEqual([]);
  const counting = failNth(sys, 1, EIO, (name) => name === "close");
  expect(counting.sys.open("/x", 0, 0)).toBe(7);
  expect(counting.sys.close(7)).toBe(-EIO);
  expect(log).toEqual(["close", "open", "close"]);
});

test("the choice sees the arguments", () => {
  const { sys } = recorder();
  const failing = failNth(sys, 1, EIO, (name, args) => name === "open" && args[0] === "/b");
  expect(failing.sys.open("/a", 0, 0)).toBe(7);
  expect(failing.sys.open("/b", 0, 0)).toBe(-EIO);
});

const must = (result: number): number => {
  if (result < 0) throw new Error(`errno ${-result}`);
  return result;
};

test("each call of an operation is made to fail once", async () => {
  const { sys, log } = recorder();
  const failed: string[] = [];
  const tried = await eachFailure({
    sys,
    errno: EIO,
    run: (faulty) => {
      const fd = must(faulty.open("/x", 0, 0));
      try {
        must(faulty.read(fd, new Uint8Array(3)));
      } finally {
        faulty.close(fd);
      }
    },
    check: (error, { n, call }) => {
      failed.push(`${n} ${call} ${String(error)}`);
    },
  });
  expect(tried).toBe(2);
  expect(failed).toEqual(["1 open Error: errno 5", "2 read Error: errno 5"]);
  // Round 1: nothing; round 2: open, close; round 3: everything.
  expect(log).toEqual(["open", "close", "open", "read", "close"]);
});

test("an operation that copes is checked without an error", async () => {
  const { sys } = recorder();
  const errors: unknown[] = [];
  await eachFailure({
    sys,
    errno: EIO,
    run: (faulty) => {
      faulty.open("/x", 0, 0);
    },
    check: (error) => {
      errors.push(error);
    },
  });
  expect(errors).toEqual([undefined]);
});

test("a failed check names the call", async () => {
  const { sys } = recorder();
  const run = (faulty: Syscalls): void => {
    must(faulty.open("/x", 0, 0));
    must(faulty.read(7, new Uint8Array(3)));
  };
  const check = (_: unknown, { n }: { readonly n: number }): void => {
    if (n === 2) throw new Error("leak");
  };
  await expect(eachFailure({ sys, errno: EIO, run, check })).rejects.toThrow(
    "with call 2 (read) failing: Error: leak",
  );
});

test("an error of the round without a failure is not hidden", async () => {
  const { sys } = recorder();
  const run = (): void => {
    throw new Error("broken anyway");
  };
  await expect(eachFailure({ sys, errno: EIO, run, check: () => {} })).rejects.toThrow("broken anyway");
});

test("an operation that retries for ever is stopped", async () => {
  const { sys } = recorder();
  const run = (faulty: Syscalls): void => {
    for (let i = 0; i < 50; i++) faulty.open("/x", 0, 0);
  };
  await expect(eachFailure({ sys, errno: EIO, run, check: () => {}, limit: 10 })).rejects.toThrow(
    "still making calls after 10 rounds",
  );
});
