import { createSocket } from "node:dgram";
import { once } from "node:events";
import { expect, test } from "vitest";
import { be16, be32, struct, u32 } from "../../../src/btf/layout/index.ts";
import { BpfProgram } from "../../../src/kernel/index.ts";
import { sockContext, TC_ACT_OK, tc } from "../../../src/lang/index.ts";
import { describeKernel } from "../../support/privileges.ts";

/** The IPv4 half of `struct bpf_sock_tuple`. */
const tuple = struct("bpf_sock_tuple", { saddr: be32, daddr: be32, sport: be16, dport: be16 });
const CURRENT_NETNS = 0xffff_ffff_ffff_ffffn;

describeKernel("pointers that helpers give", () => {
  test("a socket that a lookup found: its fields are read, and it is released", async () => {
    const socket = createSocket("udp4");
    try {
      socket.bind(0, "127.0.0.1");
      await once(socket, "listening");
      const { port } = socket.address();
      const find = tc("find", ($) => {
        const wanted = $.packet.take(struct("wanted", { port: be16 }), { else: () => $.return(TC_ACT_OK) });
        const room = $.struct(tuple, { daddr: 0x7f000001, dport: wanted.port });
        const result = $.let(u32, 1);
        $.ifPresent($.bpf_sk_lookup_udp(room, 12, CURRENT_NETNS, 0), (found) => {
          $.ifPresent($.bpf_sk_fullsock(found), (full) => {
            const view = $.view(full, sockContext);
            result.set(view.src_port.shl(8).or(view.protocol));
          });
          $.bpf_sk_release(found);
        }).else(() => result.set(2));
        return $.return(result);
      });
      using loaded = BpfProgram.load(find);
      const data = new Uint8Array(64);
      const run = (wanted: number): number => {
        new DataView(data.buffer).setUint16(0, wanted);
        return loaded.testRun({ data }).retval;
      };
      expect(run(port)).toBe(port * 256 + 17);
      expect(run(0)).toBe(2);
    } finally {
      socket.close();
    }
  });
});
