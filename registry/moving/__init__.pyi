from .exporting import export_model
from .importing import Imported, Importer, import_model

__all__ = ["Imported", "Importer", "export_model", "import_model"]
