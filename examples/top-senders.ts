/** Who sends how much: an XDP program in the structured language, and a map from IPv4 address to packets and bytes. */
import { mapDef } from "tsbpf/asm";
import { attachXdpLink, BpfMap, BpfProgram } from "tsbpf/kernel";
import { XDP_PASS, xdp } from "tsbpf/lang";
import { parseEthernet, parseIpv4 } from "tsbpf/lang/net";
import { be32, struct, u64 } from "tsbpf/layout";
import { BPF_NOEXIST } from "tsbpf/uapi/bpf";
import { ETH_P_IP } from "tsbpf/uapi/net";
import { every, run, UsageError } from "./support/run.ts";

const Traffic = struct("traffic", { packets: u64, bytes: u64 });
const senders = mapDef({
  name: "senders",
  type: "lru_hash", // where it is full, the kernel forgets who has been silent for long
  key: be32,
  value: Traffic,
  maxEntries: 4096,
});

const program = xdp("top_senders", ($) => {
  const pass = { else: () => $.return(XDP_PASS) };
  const { proto } = parseEthernet($, pass); // VLAN tags, too
  $.if(proto.ne(ETH_P_IP), pass.else);
  const { ip } = parseIpv4($, pass);
  const length = $.packet.length();

  $.lookup(senders, ip.saddr, (traffic) => {
    // Atomically, since other CPUs count in the same place.
    $.atomic.add(traffic.packets, 1);
    $.atomic.add(traffic.bytes, length);
  }).else(() => $.update(senders, ip.saddr, { packets: 1, bytes: length }, BPF_NOEXIST));
  return $.return(XDP_PASS);
});

const dotted = (address: number): string =>
  [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join(".");

await run(
  `npx tsx examples/top-senders.ts INTERFACE

Counts the IPv4 packets that come in on an interface by their sender, and prints the ten who have sent most, every second.
They pass on unharmed. Ctrl-C ends it.`,
  async ([device], signal) => {
    if (device === undefined) throw new UsageError("which interface?");
    using map = BpfMap.create(senders);
    using prog = BpfProgram.load(program, { maps: [map] });
    using link = attachXdpLink(prog, device);
    console.log(`counting on ${device}, in ${link.mode} mode`);

    let printed = "";
    for await (const _ of every(1000, signal)) {
      const most = [...map.entries()].sort(([, a], [, b]) => Number(b.bytes - a.bytes)).slice(0, 10);
      const text = most
        .map(([address, { packets, bytes }]) => `${dotted(address)}: ${packets} packets, ${bytes} bytes`)
        .join("\n");
      if (text !== printed) console.log(text);
      printed = text;
    }
  },
);
