//go:build cgo

package milter

import (
	"bytes"
	"errors"
	"io"
	"os"
)

// readAhead reads r to its end, and returns what it was: from memory or, if that is more than
// bodyInMemory, from a file in dir that has no name.
func readAhead(r io.Reader, dir string) (io.ReadCloser, error) {
	memory := new(bytes.Buffer)
	if _, err := io.CopyN(memory, r, bodyInMemory); err == io.EOF {
		return io.NopCloser(memory), nil
	} else if err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(dir, "milter-")
	if err != nil {
		return nil, err
	}
	err = os.Remove(file.Name())
	if err == nil {
		_, err = io.Copy(file, io.MultiReader(memory, r))
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
