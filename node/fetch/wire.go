package fetch

import (
	"fmt"

	"github.com/ethereum/go-ethereum/rlp"
)

// The kinds in which a message is refused by its form, or an answer because it is
// not of what was asked.
const (
	ErrOversize  = ErrorKind("message is over its limit")
	ErrMalformed = ErrorKind("message does not decode")
	ErrUnasked   = ErrorKind("answer does not fit the question")
)

// Refuse is an error of a kind with what is wrong.
func Refuse(kind error, format string, args ...any) error {
	return fmt.Errorf("%w: %s", kind, fmt.Sprintf(format, args...))
}

// Shape is what a message may look like at most. A message is held against it
// before it is decoded: an item of one byte takes 24 and more in memory, so a
// limit that is looked at afterwards comes too late.
type Shape struct {
	least, most int     // bytes of a string
	list        bool    // else a string
	items       int     // of a list of equal parts
	each        *Shape  // a part; nil = the list has exactly these fields
	fields      []Shape // one for each
}

// Bytes is a string of at most so many bytes.
func Bytes(most int) Shape { return Shape{most: most} }

// Between is a string of at least and at most so many bytes.
func Between(least, most int) Shape { return Shape{least: least, most: most} }

// Number is an integer of up to 64 bits.
func Number() Shape { return Bytes(8) }

// List is a list of at most so many parts.
func List(most int, each Shape) Shape { return Shape{list: true, items: most, each: &each} }

// Fields is a list of exactly these.
func Fields(of ...Shape) Shape { return Shape{list: true, fields: of} }

// fits checks the value at the beginning of b and answers what follows it.
func (s *Shape) fits(b []byte) (rest []byte, err error) {
	kind, content, rest, err := rlp.Split(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	switch {
	case s.list != (kind == rlp.List):
		return nil, Refuse(ErrMalformed, "a %s in the wrong place", kind)
	case !s.list && len(content) > s.most:
		return nil, Refuse(ErrOversize, "a string of %d bytes, at most %d", len(content), s.most)
	case !s.list && len(content) < s.least:
		return nil, Refuse(ErrMalformed, "a string of %d bytes, at least %d", len(content), s.least)
	case s.each != nil:
		return rest, s.fitParts(content)
	}
	for i := range s.fields {
		if content, err = s.fields[i].fits(content); err != nil {
			return nil, err
		}
	}
	if s.list && len(content) > 0 {
		return nil, Refuse(ErrMalformed, "more than %d fields", len(s.fields))
	}
	return rest, nil
}

func (s *Shape) fitParts(content []byte) (err error) {
	for n := 1; len(content) > 0; n++ {
		if n > s.items {
			return Refuse(ErrOversize, "a list of more than %d", s.items)
		}
		if content, err = s.each.fits(content); err != nil {
			return err
		}
	}
	return nil
}

// Encode is the RLP of a message of byte strings, integers and lists of them.
func Encode(message any) []byte {
	b, err := rlp.EncodeToBytes(message)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", message, err)) // a message that cannot be encoded is a bug
	}
	return b
}

// Decode reads exactly one message of at most so many bytes that has a shape.
// What it answers has no other encoding. Errors: ErrOversize, ErrMalformed.
func Decode[T any](b []byte, most int, shape Shape) (*T, error) {
	if len(b) > most {
		return nil, Refuse(ErrOversize, "%d bytes, at most %d", len(b), most)
	}
	rest, err := shape.fits(b)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, Refuse(ErrMalformed, "%d bytes follow the message", len(rest))
	}
	m := new(T)
	if err := rlp.DecodeBytes(b, m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return m, nil
}
