import { describe, expect, test } from "vitest";
import { loadWithLog } from "../../src/kernel/verifier/load-log.ts";
import type { Syscalls } from "../../src/syscall/syscalls.ts";
import { bpf_attr_prog_load } from "../../src/uapi/bpf-attr.ts";
import { E2BIG, EACCES, EINVAL, ENOSPC } from "../../src/uapi/errno.ts";

/** A kernel that refuses every program with a log of a given size, and what it was asked. */
function kernel(options: {
  readonly log: string;
  readonly verdict: number;
  /** Since 6.4 the kernel says how large the log is, and keeps its end; before, its beginning. */
  readonly namesSize: boolean;
  /** The largest buffer that it takes. */
  readonly largest?: number;
}): { readonly sys: Syscalls; readonly sizes: readonly number[] } {
  const { log, verdict, namesSize, largest = 0x3fff_ffff } = options;
  const bytes = new TextEncoder().encode(log);
  const buffers = new Map<bigint, Uint8Array>();
  const sizes: number[] = [];
  const addressOf = (buffer: Uint8Array): bigint => {
    const address = BigInt(buffers.size + 1) << 12n;
    buffers.set(address, buffer);
    return address;
  };
  const bpf = (_cmd: number, attr: Uint8Array): number => {
    const view = new DataView(attr.buffer, attr.byteOffset, attr.byteLength);
    const size = view.getUint32(bpf_attr_prog_load.log_size, true);
    const buffer = buffers.get(view.getBigUint64(bpf_attr_prog_load.log_buf, true)) as Uint8Array;
    sizes.push(size);
    if (size > largest) return -EINVAL;
    if (namesSize) view.setUint32(bpf_attr_prog_load.log_true_size, bytes.length + 1, true);
    const fits = bytes.length < size;
    const room = bytes.subarray(namesSize && !fits ? bytes.length - size + 1 : 0);
    buffer.set(room.subarray(0, Math.min(room.length, size - 1)));
    return fits ? -verdict : -ENOSPC;
  };
  return { sys: { bpf, addressOf } as unknown as Syscalls, sizes };
}

const attr = { prog_type: 6, insns: new Uint8Array(8), license: "GPL", log_level: 1 };
const line = "0: (95) exit\n";

describe("loadWithLog", () => {
  test("a log that fits at once", () => {
    const { sys, sizes } = kernel({ log: line, verdict: EACCES, namesSize: true });
    expect(loadWithLog(sys, attr)).toEqual({ result: -EACCES, log: line });
    expect(sizes).toEqual([65536]);
  });

  test("a kernel that names the size is asked once more", () => {
    const log = line.repeat(200_000);
    const { sys, sizes } = kernel({ log, verdict: EACCES, namesSize: true });
    expect(loadWithLog(sys, attr)).toEqual({ result: -EACCES, log });
    expect(sizes).toEqual([65536, log.length + 1]);
  });

  test("a kernel that does not is asked with ever larger buffers", () => {
    const log = line.repeat(200_000);
    const { sys, sizes } = kernel({ log, verdict: EACCES, namesSize: false, largest: 0xff_ffff });
    expect(loadWithLog(sys, attr)).toEqual({ result: -EACCES, log });
    expect(sizes).toEqual([65536, 262144, 1048576, 4194304]);
  });

  test("a log larger than a kernel before 5.2 can give is the part that it gives", () => {
    const log = line.repeat(1_400_000);
    const { sys, sizes } = kernel({ log, verdict: EACCES, namesSize: false, largest: 0xff_ffff });
    const loaded = loadWithLog(sys, attr);
    expect(loaded.result).toBe(-ENOSPC);
    expect(loaded.log).toBe(log.slice(0, 0xff_fffe));
    expect(sizes.at(-2)).toBe(0xff_ffff);
  });

  test("what was too large is asked with a large buffer at once", () => {
    const log = line.repeat(2_000_000);
    const { sys, sizes } = kernel({ log, verdict: E2BIG, namesSize: true });
    expect(loadWithLog(sys, attr, -E2BIG)).toEqual({ result: -E2BIG, log });
    expect(sizes).toHaveLength(1);
  });

  test("also where the kernel takes no large buffer", () => {
    const log = line.repeat(100_000);
    const { sys, sizes } = kernel({ log, verdict: E2BIG, namesSize: false, largest: 0xff_ffff });
    expect(loadWithLog(sys, attr, -E2BIG)).toEqual({ result: -E2BIG, log });
    expect(sizes).toEqual([0x400_0000, 0xff_ffff]);
  });

  test("a kernel that refuses every buffer is not asked for ever", () => {
    const { sys, sizes } = kernel({ log: "", verdict: EINVAL, namesSize: true, largest: 0 });
    expect(loadWithLog(sys, attr, -E2BIG)).toEqual({ result: -EINVAL, log: "" });
    expect(sizes).toEqual([0x400_0000, 0xff_ffff]);
  });
});
