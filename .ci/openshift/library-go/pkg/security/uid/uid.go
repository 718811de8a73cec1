// Package uid is as much of library-go as the code calls that judges pods: what namespaces' annotations say of users and
// groups.
package uid

import "fmt"

// Block is the range that a namespace was given.
type Block struct {
	Start, End uint32
}

// ParseBlock reads START/SIZE or START-END.
func ParseBlock(text string) (Block, error) {
	var block Block
	var size uint32
	if _, err := fmt.Sscanf(text, "%d/%d", &block.Start, &size); err == nil && size > 0 {
		block.End = block.Start + size - 1
		return block, nil
	}
	if _, err := fmt.Sscanf(text, "%d-%d", &block.Start, &block.End); err == nil && block.Start <= block.End {
		return block, nil
	}
	return Block{}, fmt.Errorf("%q is no range of users", text)
}
