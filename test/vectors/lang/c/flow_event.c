/* XDP: tells user space about TCP connections that begin or end (SYN, FIN, RST), through a ring buffer. */
#include "bpf.h"

struct event {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__u8 flags;
	__u8 reserved[3];
	__u32 length;
	__u32 queue;
};

extern struct bpf_map events; /* ringbuf */
extern struct bpf_map lost;   /* array: u32 -> u64 */

int flow_event(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct tcphdr *tcp = (void *)(ip + 1);

	if ((void *)(tcp + 1) > data_end)
		return XDP_PASS;
	if (eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5 || ip->protocol != IPPROTO_TCP)
		return XDP_PASS;

	__u8 flags = ((__u8 *)tcp)[13];
	if (!(flags & 0x07)) /* FIN, SYN, RST */
		return XDP_PASS;

	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		__u32 key = 0;
		__u64 *count = bpf_map_lookup_elem(&lost, &key);

		if (count)
			__sync_fetch_and_add(count, 1);
		return XDP_PASS;
	}
	event->saddr = ip->saddr;
	event->daddr = ip->daddr;
	event->sport = tcp->source;
	event->dport = tcp->dest;
	event->flags = flags;
	__builtin_memset(event->reserved, 0, sizeof(event->reserved));
	event->length = data_end - data;
	event->queue = ctx->rx_queue_index;
	bpf_ringbuf_submit(event, 0);
	return XDP_PASS;
}
