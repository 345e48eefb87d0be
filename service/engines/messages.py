"""Protobuf's messages of others, of which only the fields that are read or changed here are described.

All other fields stay in a message as they are. Each description has a pool of its own, since the complete one may be in the process
too.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Kind = descriptor_pb2.FieldDescriptorProto


def add_field(message: Any, name: str, number: int, **facts: Any) -> None:
    """Adds a field to a message's description: an optional string where the facts do not say otherwise."""
    message.field.add(name=name, number=number, **{"type": Kind.TYPE_STRING, "label": Kind.LABEL_OPTIONAL, **facts})


def message_class(file: Any, name: str) -> Any:
    """The class of one of a file's messages."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{name}"))
