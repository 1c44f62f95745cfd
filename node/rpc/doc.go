// Package rpc answers wallets: Ethereum's execution JSON-RPC and this ledger's
// own cairn_ methods, over HTTP and WebSocket on one port. docs/rpc.md lists the
// methods, limits and errors.
//
// Finality is immediate: latest, safe and finalized are the last final block.
// pending differs from latest in nonces only.
//
// # Responsibilities
//
//   - server.go, http.go and socket.go are the listener: who may ask, how much at
//     once, and how long an answer may wait for its reader. What a request means
//     is decided by go-ethereum's rpc server.
//   - intake.go and scan.go read a request no further than what refuses it; turn.go
//     has what costs much wait for one of few places, so that consensus has a
//     processor whatever is asked.
//   - Each namespace is one type whose exported methods are served: ethAPI,
//     cairnAPI and so on. discover.go describes them from their types; a method
//     without an entry in descriptions stops New.
//   - Subscriptions and filters are positions: in the ledger's heights (heads.go)
//     or in the pool's last events (events.go). None has a queue, so none can
//     grow, and none misses a block. Those of a connection are served together
//     (notifier.go) and written together (outbox.go, cork.go).
//
// # Errors
//
// go-ethereum's texts with code −32000, so that clients map them to their own
// error classes. Nothing permanent is answered with a code that makes clients
// retry; errors.go has the codes.
package rpc
