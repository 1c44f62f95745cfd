package rpc

import "fmt"

// maxDepth bounds the nesting of a request. The deepest that a method takes is
// an access list in a call in a batch.
const maxDepth = 64

// scan follows the JSON of a request while its bytes come, as far as limits need
// it: what is nested too deep or a batch of too many calls is refused at the first
// byte that shows it. The bytes need not be JSON.
type scan struct {
	most int // calls of a batch

	depth   int
	calls   int  // of a batch, that have begun
	begun   bool // the first byte that is no space has come
	batch   bool // it opened a list
	between bool // the next value in the list has not begun
	text    bool // in a string
	escaped bool // after a backslash
}

// feed takes the next bytes. Errors: errTooDeep, errBatchTooLarge; nothing more
// needs to be fed then.
func (s *scan) feed(p []byte) error {
	for i := 0; i < len(p); i++ {
		c := p[i]
		if s.text {
			switch {
			case s.escaped:
				s.escaped = false
			case c == '\\':
				s.escaped = true
			case c == '"':
				s.text = false
			}
			continue
		}
		if c == ' ' || c == '\t' || c == '\n' || c == '\r' {
			continue
		}
		if !s.begun {
			s.begun, s.batch, s.between = true, c == '[', c == '['
		} else if s.between && c != ']' && c != ',' {
			s.between = false
			if s.calls++; s.calls > s.most {
				return errBatchTooLarge
			}
		}
		switch c {
		case '"':
			s.text = true
		case '{', '[':
			if s.depth++; s.depth > maxDepth {
				return errTooDeep
			}
		case '}', ']':
			s.depth--
		case ',':
			s.between = s.between || s.batch && s.depth == 1
		}
	}
	return nil
}

// errTooDeep is why a request is not read to its end.
var errTooDeep = fmt.Errorf("nested deeper than %d", maxDepth)
