import { describe, expect, test } from "vitest";
import { withMemlock } from "../../src/kernel/memlock.ts";
import { RLIMIT_MEMLOCK } from "../../src/syscall/constants.ts";
import type { Syscalls } from "../../src/syscall/syscalls.ts";
import { bpf_cmd } from "../../src/uapi/bpf.ts";
import { EPERM } from "../../src/uapi/errno.ts";

const UNLIMITED = 0xffff_ffff_ffff_ffffn;
const DEFAULT = 0x1_0000n;

/** A kernel where everything takes 100 KiB of locked memory. */
function oldKernel({ hard, mayRaiseHard }: { hard: bigint; mayRaiseHard: boolean }): {
  readonly sys: Syscalls;
  readonly calls: string[];
  limit: { soft: bigint; hard: bigint };
} {
  const state = { limit: { soft: DEFAULT, hard }, calls: [] as string[] };
  const sys = {
    bpf(cmd: number) {
      state.calls.push(`bpf ${cmd}`);
      return state.limit.soft >= 0x1_9000n ? 7 : -EPERM;
    },
    prlimit(_pid: number, resource: number, wanted: Uint8Array | null, old: Uint8Array | null) {
      expect(resource).toBe(RLIMIT_MEMLOCK);
      if (old !== null) new BigUint64Array(old.buffer).set([state.limit.soft, state.limit.hard]);
      if (wanted === null) return 0;
      const [soft = 0n, newHard = 0n] = new BigUint64Array(wanted.buffer);
      state.calls.push(`prlimit ${soft === UNLIMITED ? "unlimited" : soft}`);
      if (newHard > state.limit.hard && !mayRaiseHard) return -EPERM;
      state.limit = { soft, hard: newHard };
      return 0;
    },
  };
  return {
    ...state,
    sys: sys as unknown as Syscalls,
    get limit() {
      return state.limit;
    },
  };
}

const attr = new Uint8Array(8);

describe("before 5.11", () => {
  test("the first EPERM raises the limit, and the call is made once more", () => {
    const { sys, calls } = oldKernel({ hard: DEFAULT, mayRaiseHard: true });
    const raising = withMemlock(sys, "5.10.0-28-amd64");
    expect(raising.bpf(bpf_cmd.BPF_MAP_CREATE, attr)).toBe(7);
    expect(raising.bpf(bpf_cmd.BPF_PROG_LOAD, attr)).toBe(7);
    expect(calls).toEqual(["bpf 0", "prlimit unlimited", "bpf 0", "bpf 5"]);
  });

  test("to the hard limit, where the process may go no further", () => {
    const { sys, calls } = oldKernel({ hard: 0x10_0000n, mayRaiseHard: false });
    expect(withMemlock(sys, "4.19.0").bpf(bpf_cmd.BPF_PROG_LOAD, attr)).toBe(7);
    expect(calls).toEqual(["bpf 5", "prlimit unlimited", "prlimit 1048576", "bpf 5"]);
  });

  test("once, and not for a refusal that has nothing to do with memory", () => {
    const { sys, calls } = oldKernel({ hard: DEFAULT, mayRaiseHard: false });
    const raising = withMemlock(sys, "5.4.0");
    expect(raising.bpf(bpf_cmd.BPF_PROG_GET_NEXT_ID, attr)).toBe(-EPERM);
    expect(calls).toEqual(["bpf 11"]);
    expect(raising.bpf(bpf_cmd.BPF_BTF_LOAD, attr)).toBe(-EPERM);
    expect(raising.bpf(bpf_cmd.BPF_BTF_LOAD, attr)).toBe(-EPERM);
    expect(calls).toEqual(["bpf 11", "bpf 18", "prlimit unlimited", "bpf 18"]);
  });
});

test("from 5.11 on nothing is wrapped", () => {
  const { sys, calls } = oldKernel({ hard: DEFAULT, mayRaiseHard: true });
  for (const kernel of ["5.11.0", "6.18.44", "7.2.0"]) expect(withMemlock(sys, kernel)).toBe(sys);
  expect(calls).toEqual([]);
});
