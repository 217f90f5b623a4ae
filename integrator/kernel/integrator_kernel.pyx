# cython: language_level=3, boundscheck=False, wraparound=False
"""The short way through disclosure records in native code: the same entries as its references, in less time.

- Nothing here decides what a record says: `integrator.recording.shortcut` does, and `integrator.recording.disclosures`
  what entries are made of it; a test holds them beside this. Pieces that come again are made and kept by the reference,
  in its own dictionaries; here they are found by their Avro bytes and put together.
- The bytes of a record may be anybody's. They are read through a `Walk` that only `step` moves, and `step` asks first
  whether there are as many: nothing is read that it did not give. A number has 63 bits at most before it is judged.
- What was found is owned while it is used: a dictionary may be emptied meanwhile.
"""

from functools import partial

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_SET_ITEM
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

cdef extern from *:
    """
    /* A tuple of a named tuple's class, to be filled before anybody else sees it. */
    #define new_tuple(kind, size) ((PyTypeObject *)(kind))->tp_alloc((PyTypeObject *)(kind), (size))
    #define makes_tuples(kind) (PyType_Check(kind) && PyType_IsSubtype((PyTypeObject *)(kind), &PyTuple_Type))
    """
    object new_tuple(object kind, Py_ssize_t size)
    bint makes_tuples(object kind)

cdef enum:
    PSEUDONYM = 32
    HASH = 32
    NAME = 43  # characters of a pseudonym
    LONG = 0x81  # bits of a length's octet: set where it is 64 and more, or negative
    DIGITS = 20  # of the largest number
    EVENT = 12  # characters before an event's id
    MOST_PART = 0xFFFF
    # Members of the reference's tuples: of a head, of a moment, of what a common record says.
    HEAD = 7
    MOMENT = 2
    COMMON = 4

cdef uint64_t MOST_NUMBER = <uint64_t>1 << 52
cdef const uint8_t *SIXTEEN = b"0123456789abcdef"
cdef const uint8_t *SIXTY_FOUR = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

cdef struct Walk:
    # What of a value was not read yet.
    const uint8_t *at
    const uint8_t *end


cdef class Shortcut:
    """Reads common records as the reference does that made this, and is owned by it.

    What the reference remembers comes with the function that makes one; `keep` is how it remembers. Records that raise
    one of `unusual`, which has `ValueError`, are for the general way. `common` is the class of what `read` returns.
    """

    cdef bytes prefix, delivery_start, subject_start, last_value
    cdef dict heads, moments, routes, sources, roles
    cdef object new_head, new_moment, new_route, new_source, new_role, new_end, keep, common, last_moment
    cdef tuple unusual
    cdef list last_people
    cdef Py_ssize_t last_size

    def __cinit__(
        self, *, bytes prefix not None, bytes delivery_start not None, bytes subject_start not None,
        heads, moments, routes, sources, roles, new_end, keep, common, tuple unusual not None,
    ):
        if not makes_tuples(common):
            raise TypeError("what a record says is a tuple")
        self.prefix, self.delivery_start, self.subject_start = prefix, delivery_start, subject_start
        self.heads, self.new_head = heads
        self.moments, self.new_moment = moments
        self.routes, self.new_route = routes
        self.sources, self.new_source = sources
        self.roles, self.new_role = roles
        self.new_end, self.keep, self.common, self.unusual = new_end, keep, common, unusual
        # The persons that came last: the value that says them, in how many of its last octets, and the moment.
        self.last_value, self.last_size, self.last_moment, self.last_people = b"", 0, None, []

    def read(self, bytes value not None):
        """Return what the reference's `read` does."""
        cdef Walk walk
        walk.at = octets(value)
        walk.end = walk.at + length(value)
        try:
            if memcmp(step(&walk, length(self.prefix)), octets(self.prefix), length(self.prefix)):
                return None
            return self.read_common(value, &walk)
        except self.unusual:
            return None

    cdef object read_common(self, bytes value, Walk *walk):
        cdef uint8_t sequence[DIGITS]
        cdef uint8_t position[DIGITS]
        head = self.find_head(value, walk)
        cdef const uint8_t *start = walk.at
        skip_number(walk)
        moment = self.find(self.moments, piece(start, walk), self.new_moment)
        written = item(moment, 1, MOMENT)
        start = walk.at
        skip_text(walk)
        skip_number(walk)
        skip_number(walk)
        route = self.find(self.routes, piece(start, walk), self.new_route)
        cdef int sequence_size = decimal(number(walk), sequence)
        start = walk.at
        skip_text(walk)
        skip_number(walk)
        source = self.find(self.sources, piece(start, walk), self.new_source)
        cdef int position_size = decimal(number(walk), position)
        cdef const uint8_t *event = short_text(walk)
        cdef int event_size = event[0] >> 1
        plain(event + 1, event_size)
        start = short_text(walk)
        close = self.find_end(head, piece(start, walk))
        cdef const uint8_t *digest = step(walk, HASH)

        cdef Py_ssize_t size = length(self.delivery_start) + length(written) + length(route) + sequence_size
        size += length(source) + position_size + EVENT + event_size + length(close) + 2 * HASH + 2
        if size > MOST_PART:
            raise ValueError("part D would be too long")
        cdef bytes delivery = new_bytes(size)
        cdef uint8_t *to = join(join(join(octets(delivery), self.delivery_start), written), route)
        to = join(write(to, sequence, sequence_size), source)
        to = write(write(to, position, position_size), b',"eventId":"', EVENT)
        to = hexadecimal(join(write(to, event + 1, event_size), close), digest)
        write(to, b'"}', 2)

        return named(
            self.common, (head, item(moment, 0, MOMENT), delivery, self.find_people(value, walk, moment))
        )

    cdef object find(self, dict pieces, piece, make):
        found = pieces.get(piece)
        return self.keep(pieces, piece, make) if found is None else found

    cdef object find_head(self, bytes value, Walk *walk):
        # As the reference does: the first octet is taken for the whole length.
        cdef const uint8_t *start = walk.at
        cdef Py_ssize_t size = 1 + (step(walk, 1)[0] >> 1)
        head = self.heads.get(PyBytes_FromStringAndSize(<const char *>start, min(size, walk.end - start)))
        if head is not None:
            said = item(head, 0, HEAD)
            size = length(said)
            if walk.end - start < size or memcmp(start, octets(said), size):
                head = None
        if head is None:
            head = self.new_head(value, start - octets(value))
        walk.at = start
        step(walk, length(item(head, 0, HEAD)))
        return head

    cdef object find_end(self, head, bytes kind):
        cdef dict ends = item(head, 6, HEAD)
        found = ends.get(kind)
        return self.keep(ends, kind, partial(self.new_end, head)) if found is None else found

    cdef list find_people(self, bytes value, Walk *walk, moment):
        cdef const uint8_t *start = walk.at
        cdef Py_ssize_t size = walk.end - start
        if moment is self.last_moment and size == self.last_size:
            if memcmp(start, octets(self.last_value) + length(self.last_value) - size, size) == 0:
                return self.last_people
        cdef list people = self.read_people(walk, item(moment, 1, MOMENT))
        skip_number(walk)  # unidentified
        if walk.at != walk.end:
            raise ValueError("the record goes on")
        self.last_value, self.last_size, self.last_moment, self.last_people = value, size, moment, people
        return people

    cdef list read_people(self, Walk *walk, moment):
        cdef uint8_t count = step(walk, 1)[0]
        if count == 0 or count & LONG:
            raise ValueError("nobody, or more than 63")
        cdef list people = []
        cdef const uint8_t *pseudonym
        cdef const uint8_t *sealed
        cdef const uint8_t *start
        cdef uint8_t version
        cdef uint8_t *to
        for _ in range(count >> 1):
            pseudonym = step(walk, PSEUDONYM)
            version = step(walk, 1)[0]
            sealed = short_text(walk)
            start = short_text(walk)
            role = piece(start, walk)
            if version & LONG or step(walk, 1)[0]:
                raise ValueError("a long version, or mediated")
            for person in people:
                if memcmp(octets((<tuple>person)[0]), pseudonym, PSEUDONYM) == 0:
                    raise ValueError("somebody twice")
            said = self.find(self.roles, (role, version), self.new_role)
            subject = new_bytes(length(self.subject_start) + NAME + length(said) + length(moment) + 2)
            to = base64(join(octets(subject), self.subject_start), pseudonym)
            write(join(join(to, said), moment), b'"}', 2)
            identity = PyBytes_FromStringAndSize(<const char *>sealed + 1, sealed[0] >> 1)
            people.append((PyBytes_FromStringAndSize(<const char *>pseudonym, PSEUDONYM), identity, role, subject))
        if step(walk, 1)[0]:
            raise ValueError("another block")
        return people


def entries(common, dict said not None, account, knowledge, kind, entry):
    """Return the entries of a common record, as `DisclosureRecorder` makes them; `kind` is their type.

    `said` has part A, recipient and years by the Avro bytes of head and role; `account` makes what it lacks.
    """
    if not makes_tuples(entry):
        raise TypeError("an entry is a tuple")
    head, at, delivery = item(common, 0, COMMON), item(common, 1, COMMON), item(common, 2, COMMON)
    cdef list people = item(common, 3, COMMON)
    cdef list made = []
    head_piece = item(head, 0, HEAD)
    for pseudonym, identity, role, subject in people:
        key = (head_piece, role)
        found = said.get(key)
        if found is None:
            found = said[key] = account(head, role, knowledge)
        a, recipient, retention = found
        made.append(
            named(entry, (kind, a, delivery, subject, b"", pseudonym, recipient, at, retention, True, identity))
        )
    return made


# How a value is walked. Every step that would go beyond its end says so.

cdef inline const uint8_t *step(Walk *walk, int64_t count) except NULL:
    """Go `count` octets on, which are not negative, and return where they begin."""
    cdef const uint8_t *start = walk.at
    if walk.end - start < count:
        raise ValueError("the record is cut short")
    walk.at += count
    return start


cdef inline int64_t number(Walk *walk) except -1:
    """Read a number that is not negative."""
    cdef uint64_t coded = 0
    cdef uint8_t octet
    cdef int shift
    for shift in range(0, 63, 7):
        octet = step(walk, 1)[0]
        coded |= <uint64_t>(octet & 127) << shift
        if octet < 128:
            if coded & 1 or coded >= MOST_NUMBER:
                break
            return coded >> 1
    raise ValueError("a number is negative, or very long")


cdef inline int skip_number(Walk *walk) except -1:
    while step(walk, 1)[0] > 127:
        pass
    return 0


cdef inline int skip_text(Walk *walk) except -1:
    step(walk, number(walk))
    return 0


cdef inline const uint8_t *short_text(Walk *walk) except NULL:
    """Pass a text of less than 64 octets, and return where it stands: an octet with twice its length, then itself."""
    cdef const uint8_t *start = step(walk, 1)
    if start[0] & LONG:
        raise ValueError("a text is long")
    step(walk, start[0] >> 1)
    return start


cdef inline bytes piece(const uint8_t *start, Walk *walk):
    """Return what was passed since `start`."""
    return PyBytes_FromStringAndSize(<const char *>start, walk.at - start)


cdef inline int plain(const uint8_t *text, int size) except -1:
    """Raise unless a text is printable ASCII that JSON does not escape."""
    cdef int at
    for at in range(size):
        if not 0x20 <= text[at] < 0x7F or text[at] == c'"' or text[at] == c"\\":
            raise ValueError("an event's id is not plain")
    return 0


# How parts are written. Each returns where it ended; their caller has counted the octets.

cdef inline uint8_t *write(uint8_t *to, const uint8_t *data, Py_ssize_t size) noexcept:
    memcpy(to, data, size)
    return to + size


cdef inline uint8_t *join(uint8_t *to, data) except NULL:
    return write(to, octets(data), length(data))


cdef inline int decimal(uint64_t number, uint8_t *to) noexcept:
    """Write a number of at most `DIGITS` digits, and return how many it has."""
    cdef uint8_t digits[DIGITS]
    cdef int at = DIGITS
    while True:
        at -= 1
        digits[at] = <uint8_t>(c"0" + number % 10)
        number //= 10
        if number == 0:
            break
    memcpy(to, digits + at, DIGITS - at)
    return DIGITS - at


cdef inline uint8_t *hexadecimal(uint8_t *to, const uint8_t *digest) noexcept:
    cdef int at
    for at in range(HASH):
        to[2 * at] = SIXTEEN[digest[at] >> 4]
        to[2 * at + 1] = SIXTEEN[digest[at] & 15]
    return to + 2 * HASH


cdef inline uint8_t *base64(uint8_t *to, const uint8_t *pseudonym) noexcept:
    """Write 32 octets in 43 characters of the alphabet for URLs: the last two have the first 16 bits of 18."""
    cdef uint32_t bits
    cdef int at
    for at in range(0, 30, 3):
        bits = <uint32_t>pseudonym[at] << 16 | <uint32_t>pseudonym[at + 1] << 8 | pseudonym[at + 2]
        to[0], to[1] = SIXTY_FOUR[bits >> 18], SIXTY_FOUR[bits >> 12 & 63]
        to[2], to[3] = SIXTY_FOUR[bits >> 6 & 63], SIXTY_FOUR[bits & 63]
        to += 4
    bits = <uint32_t>pseudonym[30] << 10 | <uint32_t>pseudonym[31] << 2
    to[0], to[1], to[2] = SIXTY_FOUR[bits >> 12], SIXTY_FOUR[bits >> 6 & 63], SIXTY_FOUR[bits & 63]
    return to + 3


# The smallest steps over Python's own objects. Every one of them that can fail says so.

cdef inline bytes new_bytes(Py_ssize_t size):
    return PyBytes_FromStringAndSize(NULL, size)


cdef inline uint8_t *octets(data) except NULL:
    if not PyBytes_Check(data):
        raise TypeError(f"bytes are needed here, not {type(data).__name__}")
    return <uint8_t *>PyBytes_AS_STRING(data)


cdef inline Py_ssize_t length(data) except -1:
    if not PyBytes_Check(data):
        raise TypeError(f"bytes are needed here, not {type(data).__name__}")
    return PyBytes_GET_SIZE(data)


cdef inline object item(data, Py_ssize_t at, Py_ssize_t members):
    """Return a member of a tuple that has so many."""
    if not isinstance(data, tuple) or PyTuple_GET_SIZE(data) != members:
        raise TypeError("not what the reference makes")
    return <object>PyTuple_GET_ITEM(data, at)


cdef inline object named(kind, tuple members):
    """Return a named tuple of a class that `makes_tuples`, without the time that its own function takes."""
    made = new_tuple(kind, PyTuple_GET_SIZE(members))
    cdef Py_ssize_t at
    for at in range(PyTuple_GET_SIZE(members)):
        member = <object>PyTuple_GET_ITEM(members, at)
        Py_INCREF(member)
        PyTuple_SET_ITEM(made, at, member)
    return made
