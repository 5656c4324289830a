import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { wholeNumber } from "../../src/cli/options.ts";
import { chooseCpus, findDevice } from "../../src/cli/sample/preflight.ts";
import { checkQueueSize } from "../../src/cli/sample/queue-size.ts";
import { type Session, sessionOn } from "../../src/cli/sample/session.ts";
import { findStalePins } from "../../src/cli/sample/stale.ts";
import { formatCpuList, parseCpuList, readCpus } from "../../src/kernel/cpus.ts";
import type { NetlinkSocket } from "../../src/syscall/netlink.ts";
import { currentNetnsInode } from "../../src/syscall/netns.ts";

describe("lists of CPUs", () => {
  test.each([
    ["0", [0]],
    ["0-3,5", [0, 1, 2, 3, 5]],
    ["5,0-1", [0, 1, 5]],
    ["1,1,0-2", [0, 1, 2]],
    [" 0-1 , 3\n", [0, 1, 3]],
    ["7-7", [7]],
  ])("%j", (list, cpus) => expect(parseCpuList(list)).toEqual(cpus));

  test.each(["", ",", "a", "1-", "-1", "3-1", "1,,2", "0x1", "1.5", "1-2-3", "1 2", "9999999"])(
    "not %j",
    (list) => {
      expect(() => parseCpuList(list)).toThrow(
        `'${list}' is not a list of CPUs\n  Write numbers and ranges, as in 0-3,5.`,
      );
    },
  );

  test("what is written can be read, and is as short as it gets", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(300)), (numbers) => {
        const cpus = [...numbers].sort((a, b) => a - b);
        const list = formatCpuList(cpus);
        if (cpus.length > 0) expect(parseCpuList(list)).toEqual(cpus);
        else expect(list).toBe("");
        const gaps = cpus.filter((cpu, index) => cpu !== (cpus[index - 1] ?? -2) + 1).length;
        expect(list === "" ? 0 : list.split(",").length).toBe(gaps);
      }),
    );
  });

  test("without one all that are online are chosen; one that is not is refused", () => {
    const { online, possible } = readCpus();
    expect(chooseCpus(undefined)).toEqual(online);
    expect(chooseCpus(`${online[0]}`)).toEqual([online[0]]);
    expect(() => chooseCpus("4095")).toThrow(/CPU 4095 does not exist\n {2}Online are \d/);
    for (const cpu of possible.filter((cpu) => !online.includes(cpu)).slice(0, 1)) {
      expect(() => chooseCpus(`${cpu}`)).toThrow(`CPU ${cpu} is not online`);
    }
  });
});

describe("queue sizes", () => {
  test.each([1, 192, 16384])("%d", (qsize) => expect(checkQueueSize(qsize)).toBe(qsize));
  test.each([0, -1, 16385, 20000, 1.5, Number.NaN])("not %d", (qsize) => {
    expect(() => checkQueueSize(qsize)).toThrow(
      `queue size ${qsize} is not a whole number from 1 to 16384\n  The default is 192. Packets that find a full queue are dropped.`,
    );
  });
});

describe("whole numbers of options", () => {
  test.each([
    ["0", 0],
    ["-3", -3],
    ["007", 7],
    ["123456789012345", 123456789012345],
  ])("%s", (text, value) => expect(wholeNumber(text)).toBe(value));
  test.each(["", " 1", "1e3", "0x10", "1.0", "+1", "1234567890123456", "--1"])("not '%s'", (text) => {
    expect(() => wholeNumber(text)).toThrow("It must be a whole number.");
  });
});

describe("interface names", () => {
  test.each(["", ".", "..", "a/b", "a b", "a\tb", "abcdefghijklmnop", "é".repeat(8)])(
    "%j is refused before the kernel is asked",
    (name) => {
      expect(() => findDevice({} as NetlinkSocket, name, () => [])).toThrow(
        /is not an interface name|is too long/,
      );
    },
  );
});

describe("what is ours on an interface", () => {
  const session = (
    id: number,
    ifindex: number,
    parts: Partial<Session>,
    madeClsact: number[] = [],
  ): Session => ({
    id,
    device: undefined,
    xdp: undefined,
    tc: [],
    ...parts,
    facts: { interface: "x", ifindex, tcBackend: "tcx", cpus: "0", qsize: 1, madeClsact },
  });
  const program = { id: 1, name: "p", tag: "", mapIds: [] };
  const xdp = { ifindex: 2, mode: "native", program } as const;
  const tc = (progId: number) => ({ list: "tcx", ifindex: 2, hook: "ingress", progId, program }) as const;

  test("nothing, or one session", () => {
    expect(sessionOn([], 2)).toBeUndefined();
    expect(sessionOn([session(1, 3, { xdp })], 2)).toBeUndefined();
    expect(sessionOn([session(1, 3, {}), session(2, 2, { xdp, tc: [tc(5)] })], 2)).toMatchObject({ id: 2 });
  });

  test("what a killed `up` left and what it was to replace are taken together", () => {
    const half = session(1, 2, { tc: [tc(5)] }, [2]);
    const whole = session(2, 2, { xdp, tc: [tc(6), tc(7)] }, [2, 3]);
    for (const sessions of [
      [half, whole],
      [whole, half],
    ]) {
      const both = sessionOn(sessions, 2);
      expect(both?.id).toBe(2);
      expect(both?.xdp).toBe(xdp);
      expect(both?.tc.map(({ progId }) => progId).sort()).toEqual([5, 6, 7]);
      expect([...(both?.facts.madeClsact ?? [])].sort()).toEqual([2, 3]);
    }
    expect(sessionOn([half], 2)).toMatchObject({ id: 1, xdp: undefined });
  });
});

describe("pins that are left over", () => {
  const netns = currentNetnsInode();
  const at = (inode: number, ifindex: number) => ({ path: `/p/${inode}-${ifindex}`, netns: inode, ifindex });

  test("of this namespace: where nothing is attached any more", () => {
    const current = { netns: 5, inUse: new Set([2]) };
    expect(findStalePins([at(5, 2), at(5, 3)], current)).toEqual([
      { path: "/p/5-3", reason: "nothing of ours is attached to its interface" },
    ]);
  });

  test("of another: where the namespace has gone", () => {
    const current = { netns: 5, inUse: new Set<number>() };
    expect(findStalePins([at(netns, 2), at(1, 2)], current)).toEqual([
      { path: "/p/1-2", reason: "its network namespace has gone" },
    ]);
  });
});
