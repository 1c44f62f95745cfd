package main

import (
	"context"
	"math/big"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/rpc"

	"cairn/crypto"
	"cairn/scripts/internal/testnet"
)

// idle is how long the network rests between two single transfers.
const idle = 60 * time.Millisecond

// finality is the time from handing a transfer to a node over HTTP until that
// node's newHeads subscription has told a final block that holds it, in
// milliseconds.
type finality struct {
	Transfers int     `json:"transfers"`
	P50       float64 `json:"p50Millis"`
	P99       float64 `json:"p99Millis"`
	Max       float64 `json:"maxMillis"`
}

func measureFinality(ctx context.Context, net *testnet.Network, n int) (*finality, error) {
	chain, err := net.Chain()
	if err != nil {
		return nil, err
	}
	key, err := net.Key(0)
	if err != nil {
		return nil, err
	}
	type link struct {
		http  *rpc.Client
		heads chan testnet.Block
	}
	links := make([]link, len(net.Nodes))
	for i, node := range net.Nodes {
		if links[i].http, err = net.Dial(ctx, i); err != nil {
			return nil, err
		}
		defer links[i].http.Close()
		ws, err := rpc.DialContext(ctx, node.WS)
		if err != nil {
			return nil, err
		}
		defer ws.Close()
		links[i].heads = make(chan testnet.Block, 1024)
		sub, err := ws.EthSubscribe(ctx, links[i].heads, "newHeads")
		if err != nil {
			return nil, err
		}
		defer sub.Unsubscribe()
	}
	nonce, err := testnet.Nonce(ctx, links[0].http, key.Address(), "pending")
	if err != nil {
		return nil, err
	}
	to := crypto.Address{19: 1}
	var times []float64
	for i := range n {
		l := links[i%len(links)]
		tx, err := testnet.Transfer(chain, key, nonce+uint64(i), to, big.NewInt(1))
		if err != nil {
			return nil, err
		}
		time.Sleep(idle)
		for len(l.heads) > 0 {
			<-l.heads
		}
		begun := time.Now()
		if err := testnet.Send(ctx, l.http, tx); err != nil {
			return nil, err
		}
		for found := false; !found; {
			select {
			case <-l.heads:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			at := time.Since(begun)
			var r map[string]any
			if err := l.http.CallContext(ctx, &r, "eth_getTransactionReceipt", tx.Hash()); err != nil {
				return nil, err
			}
			if found = r != nil; found {
				times = append(times, float64(at.Microseconds())/1000)
			}
		}
	}
	slices.Sort(times)
	return &finality{Transfers: n, P50: times[n/2], P99: times[min(n-1, n*99/100)], Max: times[n-1]}, nil
}
