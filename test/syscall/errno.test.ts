import { constants } from "node:os";
import { describe, expect, test } from "vitest";
import { TsbpfError } from "../../src/base/error.ts";
import {
  check,
  describeErrno,
  errnoName,
  errnoNumber,
  errnoText,
  SyscallError,
} from "../../src/syscall/errno.ts";

describe("errno names and words", () => {
  test.each([
    [1, "EPERM", "Operation not permitted"],
    [2, "ENOENT", "No such file or directory"],
    [11, "EAGAIN", "Resource temporarily unavailable"],
    [35, "EDEADLK", "Resource deadlock avoided"],
    [95, "EOPNOTSUPP", "Operation not supported"],
    [105, "ENOBUFS", "No buffer space available"],
    [133, "EHWPOISON", "Memory page has hardware error"],
    [512, "ERESTARTSYS", undefined],
    [524, "ENOTSUPP", undefined],
    [531, "ENOGRACE", undefined],
  ])("%i is %s", (number, name, text) => {
    expect(errnoName(number)).toBe(name);
    expect(errnoNumber(name)).toBe(number);
    if (text !== undefined) expect(errnoText(number)).toBe(text);
    else expect(errnoText(number)).not.toMatch(/unknown/i);
  });

  test("agrees with libuv on every number it knows", () => {
    for (const [name, number] of Object.entries(constants.errno)) {
      // Where two names share a number, one of them is ours.
      const names = Object.entries(constants.errno).filter(([, n]) => n === number);
      expect(
        names.map(([n]) => n),
        name,
      ).toContain(errnoName(number));
    }
  });

  test("an unknown number is said to be unknown", () => {
    expect(describeErrno(4000)).toBe("errno 4000 (Unknown error 4000)");
    expect(errnoNumber("ENOSUCHTHING")).toBeUndefined();
  });
});

describe("SyscallError", () => {
  test("the first line says what failed, in the kernel's words, on what; then the hint", () => {
    const error = new SyscallError(
      "bpf(BPF_MAP_CREATE)",
      1,
      { map_type: "CPUMAP", map_name: undefined, max_entries: 2 },
      { hint: "Run it as root." },
    );
    expect(error.message).toBe(
      "bpf(BPF_MAP_CREATE) failed: EPERM (Operation not permitted) [map_type=CPUMAP, max_entries=2]\n  Run it as root.",
    );
    expect(error).toBeInstanceOf(TsbpfError);
    expect(error).toMatchObject({
      name: "SyscallError",
      call: "bpf(BPF_MAP_CREATE)",
      errno: 1,
      code: "EPERM",
      hint: "Run it as root.",
    });
  });

  test("without arguments there are no brackets", () => {
    expect(new SyscallError("setns", 22).message).toBe("setns failed: EINVAL (Invalid argument)");
  });

  test("check passes a result through, and builds the arguments only on failure", () => {
    expect(check(7, "open", () => expect.unreachable("not needed"))).toBe(7);
    expect(() => check(-13, "open", () => ({ path: "/x" }))).toThrow(
      "open failed: EACCES (Permission denied) [path=/x]",
    );
  });
});
