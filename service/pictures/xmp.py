"""What XMP (ISO 16684-1) travels from a picture to its answer: all properties but those of what the answer has not.

Left out are claims about parts of the source file (gain maps, depth maps, motion videos, an extended packet, thumbnails, an
editor's layers), and unless all is asked for, places.
"""

import codecs
import re
from collections.abc import Callable, Iterator
from xml.dom import minidom
from xml.dom.minidom import Attr, Document, Element, Node
from xml.parsers.expat import ExpatError

TIFF = "http://ns.adobe.com/tiff/1.0/"
PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
XMP_BASIC = "http://ns.adobe.com/xap/1.0/"
XMLNS = "http://www.w3.org/2000/xmlns/"
PARTS = (  # namespaces, or their beginnings, of what speaks of further parts of the source file
    "http://ns.adobe.com/hdr-gain-map/",
    "http://ns.apple.com/HDRGainMap/",
    "http://ns.apple.com/pixeldatainfo/",
    "http://ns.google.com/photos/1.0/",
    "http://ns.google.com/photos/dd/",
    "http://ns.adobe.com/xmp/note/",
)
PARTS_OF_ADOBE = {
    (PHOTOSHOP, "DocumentAncestors"),
    (PHOTOSHOP, "TextLayers"),
    (XMP_BASIC, "Thumbnails"),
    (XMP_BASIC, "PageInfo"),
}
PANORAMA = "http://ns.google.com/photos/1.0/panorama/"  # of the picture itself
PLACE_NAMES = {"City", "State", "Country", "CountryCode", "CountryName", "ProvinceState", "Sublocation", "WorldRegion"}
PLACE = re.compile(r"gps|latitude|longitude|location", re.IGNORECASE)
Test = Callable[[str, str], bool]


def text_of(packet: bytes) -> str:
    """A packet in UTF-8, UTF-16 or UTF-32 as text. Raises UnicodeDecodeError."""
    for mark, encoding in ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32")):
        if packet.startswith(mark):
            return packet.decode(encoding)
    if packet.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return packet.decode("utf-16")
    if packet[:2] == b"<\0":
        return packet.decode("utf-32-le" if packet[:4] == b"<\0\0\0" else "utf-16-le")
    if packet[:1] == b"\0":
        return packet.decode("utf-32-be" if packet[:3] == b"\0\0\0" else "utf-16-be")
    return packet.decode("utf-8-sig")


def travelling(packet: bytes, *, places: bool, turned: bool = False) -> bytes | None:
    """The packet for the answer, in UTF-8; None where nothing is left.

    places: whether they may be in it; if not, a packet that cannot be read goes, as it might hold some. turned: the answer's pixels
    are stored upright and the source's were not, so an orientation in the packet would be wrong.
    """
    try:
        text = text_of(packet).strip("\0 \r\n\t\ufeff")
        document = _parsed(text)
    except (UnicodeDecodeError, ExpatError, ValueError):
        return packet if places else None
    unwanted = _unwanted(places=places, turned=turned)
    removed = sum(_prune(node, unwanted) for node in _descriptions(document))
    if removed == 0:
        return text.encode()
    if not any(_has_content(node) for node in _descriptions(document)):
        return None
    _undeclare(document)
    root = document.documentElement
    assert root is not None
    return str(root.toxml()).encode()


def tells_places(packet: bytes) -> bool:
    """Whether a packet says where the picture was taken, or may: one that cannot be read."""
    return travelling(packet, places=False) != travelling(packet, places=True)


def _parsed(text: str) -> Document:
    """Raises ExpatError, and ValueError for a document type, with which a small file could become a large one."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("XMP with a document type")
    packet = re.sub(r"<\?xpacket.*?\?>", "", text, flags=re.DOTALL)
    return minidom.parseString(packet.strip("\0 \r\n\t").encode())  # noqa: S318  (no entities, and in a confined process)


def _unwanted(*, places: bool, turned: bool) -> Test:
    def is_unwanted(namespace: str, name: str) -> bool:
        if is_part(namespace, name) or (turned and (namespace, name) == (TIFF, "Orientation")):
            return True
        return not places and is_place(name)

    return is_unwanted


def is_part(namespace: str, name: str) -> bool:
    """Whether a property speaks of a part that the source file had beside its picture."""
    return (namespace.startswith(PARTS) and not namespace.startswith(PANORAMA)) or (namespace, name) in PARTS_OF_ADOBE


def is_place(name: str) -> bool:
    """Whether a property, of whatever vocabulary, says where something is."""
    return name in PLACE_NAMES or PLACE.search(name) is not None


def _descriptions(document: Document) -> Iterator[Element]:
    yield from document.getElementsByTagNameNS("http://www.w3.org/1999/02/22-rdf-syntax-ns#", "Description")


def _prune(element: Element, unwanted: Test) -> int:
    """Take what is unwanted out of an element, at any depth; how many were taken."""
    removed = 0
    for attribute in _attributes(element):
        if attribute.namespaceURI != XMLNS and unwanted(attribute.namespaceURI or "", attribute.localName or attribute.name):
            element.removeAttributeNode(attribute)
            removed += 1
    for child in list(element.childNodes):
        if not isinstance(child, Element):
            continue
        if unwanted(child.namespaceURI or "", child.localName or child.tagName):
            element.removeChild(child)
            removed += 1
        else:
            removed += _prune(child, unwanted)
    return removed


def _attributes(element: Element) -> list[Attr]:
    return [one for index in range(element.attributes.length) if isinstance(one := element.attributes.item(index), Attr)]


def _has_content(description: Element) -> bool:
    named = (attribute for attribute in _attributes(description) if attribute.namespaceURI != XMLNS)
    return any(attribute.localName != "about" for attribute in named) or any(
        isinstance(child, Element) for child in description.childNodes
    )


def _undeclare(document: Document) -> None:
    """Take away the declarations of the vocabularies that speak of parts: nothing uses them any more."""
    elements: list[Node] = [document.documentElement] if document.documentElement is not None else []
    while elements:
        element = elements.pop()
        if isinstance(element, Element):
            for attribute in _attributes(element):
                if attribute.namespaceURI == XMLNS and is_part(attribute.value, ""):
                    element.removeAttributeNode(attribute)
            elements.extend(element.childNodes)
