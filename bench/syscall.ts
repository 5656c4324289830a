// What one call costs on the way through src/syscall: `npx tsx bench/syscall.ts` as root. Prints nanoseconds per call,
// the best of several rounds, because the machine is never quiet.

import { BpfAttr } from "../src/syscall/attr.ts";
import {
  mapCreate,
  mapElement,
  mapGetNextKey,
  mapLookupBatch,
  mapLookupElem,
  mapUpdateElem,
} from "../src/syscall/bpf-map.ts";
import { Fd } from "../src/syscall/fd.ts";
import { linuxSyscalls } from "../src/syscall/ffi.ts";
import { NetlinkSocket } from "../src/syscall/netlink.ts";
import { linkByName } from "../src/syscall/rtnetlink.ts";
import { bpf_cmd } from "../src/uapi/bpf.ts";
import { bpf_attr_map_elem } from "../src/uapi/bpf-attr.ts";

const ENTRIES = 1024;

const sys = linuxSyscalls();
using map = Fd.own(
  sys,
  mapCreate(sys, { map_type: 2, key_size: 4, value_size: 8, max_entries: ENTRIES, map_name: "bench" }),
  "map bench",
);
const key = new Uint8Array(4);
const value = new Uint8Array(8);
const element = mapElement(sys, map, key, value);
const { bytes } = new BpfAttr(sys, bpf_attr_map_elem)
  .u32("map_fd", map.number)
  .ptr("key", key)
  .ptr("value", value);
const batch = {
  map_fd: map.number,
  keys: new Uint8Array(4 * ENTRIES),
  values: new Uint8Array(8 * ENTRIES),
  count: ENTRIES,
  in_batch: undefined,
  out_batch: new Uint8Array(4),
};
using route = NetlinkSocket.route(sys);

row("bpf() that the kernel refuses at once", () => sys.bpf(-1, bytes));
row("BPF_MAP_LOOKUP_ELEM, attribute re-used", () => sys.bpf(bpf_cmd.BPF_MAP_LOOKUP_ELEM, bytes));
row("mapElement().lookup()", () => element.lookup());
row("mapElement().update()", () => element.update());
row("mapLookupElem()", () => mapLookupElem(sys, map.number, key, value));
row("mapUpdateElem()", () => mapUpdateElem(sys, map.number, key, value));
row("mapGetNextKey()", () => mapGetNextKey(sys, map.number, undefined, key));
row(`mapLookupBatch(), per entry of ${ENTRIES}`, () => mapLookupBatch(sys, batch), ENTRIES);
row("addressOf()", () => sys.addressOf(key));
row("linkByName() over netlink", () => linkByName(route, "lo"));

function row(name: string, call: () => unknown, perCall = 1): void {
  const rounds = Array.from({ length: 9 }, () => {
    let calls = 0;
    const start = process.hrtime.bigint();
    const end = start + 50_000_000n;
    let now = start;
    while (now < end) {
      for (let i = 0; i < 500; i++) call();
      calls += 500;
      now = process.hrtime.bigint();
    }
    return Number(now - start) / calls / perCall;
  });
  console.log(
    `${name.padEnd(44)} ${Math.min(...rounds)
      .toFixed(0)
      .padStart(7)} ns`,
  );
}
