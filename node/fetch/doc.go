// Package fetch asks peers for what a node lacks. A Pool knows how each peer did
// so far: who answers fast is asked first, who is slow or silent is left alone
// for a while, and who was caught in a lie is not asked again.
//
// Ask puts one question to one peer after another until an answer passes its
// check. The check is the caller's and decides what a lie is; only what passed is
// ever handed out, so whoever uses the answer may trust it. While a peer takes
// long, a second one is asked the same.
//
// Decode reads a message only after it was held against a Shape, so that what it
// takes in memory is bounded before any of it is taken.
//
// Nothing here knows what is asked for. It is used by block sync, snapshot sync
// and the walk through the epochs.
package fetch
