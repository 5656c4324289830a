import { describe, expect, test } from "vitest";
import { Fd, FdClosedError, FdLeakError, fdLeakTracer } from "../../src/syscall/fd.ts";
import { fakeSyscalls } from "./fake-syscalls.ts";

function recording() {
  const closed: number[] = [];
  const tracer = fdLeakTracer();
  const sys = fakeSyscalls({
    close: (fd) => {
      closed.push(fd);
      return 0;
    },
    fcntl: (fd) => fd + 100,
    fdTracker: tracer,
  });
  return { sys, closed, tracer };
}

describe("Fd", () => {
  test("closes once, however often it is asked", () => {
    const { sys, closed } = recording();
    const fd = Fd.own(sys, 7, 'map "cpus"');
    expect(fd.number).toBe(7);
    fd.close();
    fd.close();
    fd[Symbol.dispose]();
    expect(closed).toEqual([7]);
    expect(fd.closed).toBe(true);
  });

  test("use after close is an error that names what it was", () => {
    const { sys } = recording();
    const fd = Fd.own(sys, 7, 'map "cpus"');
    fd.close();
    expect(() => fd.number).toThrow(FdClosedError);
    expect(() => fd.number).toThrow('map "cpus" is closed');
    expect(() => fd.dup()).toThrow('map "cpus" is closed');
  });

  test("using closes at the end of the block, also when it throws", () => {
    const { sys, closed } = recording();
    expect(() => {
      using fd = Fd.own(sys, 9, "link");
      throw new Error(`with ${fd.number}`);
    }).toThrow("with 9");
    expect(closed).toEqual([9]);
  });

  test("release gives the number away without closing it", () => {
    const { sys, closed, tracer } = recording();
    const fd = Fd.own(sys, 5, "program");
    expect(fd.release()).toBe(5);
    fd.close();
    expect(closed).toEqual([]);
    expect(() => fd.number).toThrow("program is closed");
    tracer.assertNone();
  });

  test("dup owns a second descriptor", () => {
    const { sys, closed } = recording();
    const fd = Fd.own(sys, 3, "program");
    const copy = fd.dup();
    fd.close();
    expect(copy.number).toBe(103);
    copy.close();
    expect(closed).toEqual([3, 103]);
  });

  test.each([-1, -22, 1.5, Number.NaN])("%d is not a descriptor", (number) => {
    const { sys } = recording();
    expect(() => Fd.own(sys, number, "map")).toThrow(`map: ${number} is not a file descriptor`);
  });

  test("a failing close does not throw: the descriptor is gone all the same", () => {
    const fd = Fd.own(fakeSyscalls({ close: () => -5 }), 4, "map");
    fd.close();
    expect(fd.closed).toBe(true);
  });
});

describe("fdLeakTracer", () => {
  test("shows where a leaked descriptor was opened", () => {
    const { sys, tracer } = recording();
    function openAndForget(): void {
      Fd.own(sys, 11, 'map "forgotten"');
    }
    openAndForget();
    expect(() => tracer.assertNone()).toThrow(FdLeakError);
    expect(() => tracer.assertNone()).toThrow(
      /^1 file descriptor was left open\nmap "forgotten" \(fd 11\), opened/,
    );
    const [leak] = tracer.leaks();
    expect(leak?.stack.split("\n")[0]).toContain("openAndForget");
    expect(leak?.stack).toContain("fd.test.ts");
  });

  test("is content when all are closed", () => {
    const { sys, tracer } = recording();
    const a = Fd.own(sys, 1, "a");
    const b = Fd.own(sys, 2, "b");
    expect(tracer.leaks().map(({ fd }) => fd.what)).toEqual(["a", "b"]);
    a.close();
    b.close();
    expect(() => tracer.assertNone()).not.toThrow();
  });
});
